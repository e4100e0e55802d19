#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "children/claims.h"
#include "core/ids.h"
#include "sys/unique_fd.h"

namespace pool_server {

// How a child ended.
struct ChildEnd {
  int wait_status = 0;
  std::string last_words;     // of its standard error, in one line
  bool nursery_gone = false;  // and so are all its children; the others are not known

  std::string how() const;  // "SIGSEGV", "exit status 3"
};

// A running child as its worker has it: the ends of its streams, and the lifeline to the nursery,
// whose child it is. A program has two streams, its standard input and output. A handler has one
// socket, and claims what it takes from there. One thread at a time.
//
// Destroyed, it is let go without waiting: its input ends, and what is left of its process group
// after the grace it was started with is killed.
class Child {
 public:
  // Of a handler `output` is invalid, as `input` is for both.
  Child(pid_t pid, UniqueFd input, UniqueFd output, std::unique_ptr<Claims> claims,
        UniqueFd lifeline)
      : pid_(pid),
        input_(std::move(input)),
        output_(std::move(output)),
        claims_(std::move(claims)),
        lifeline_(std::move(lifeline)) {}

  pid_t pid() const { return pid_; }
  // Non-blocking.
  int input() const { return input_.get(); }
  int output() const { return output_.valid() ? output_.get() : input_.get(); }
  bool is_program() const { return output_.valid(); }
  Claims* claims() const { return claims_.get(); }  // of a handler
  // Readable when end() has something to say.
  int lifeline() const { return lifeline_.get(); }

  // Nullopt: it lives, as far as is known.
  std::optional<ChildEnd> end();
  // SIGTERM to its group, and SIGKILL after the grace.
  void terminate() noexcept;
  void kill() noexcept;  // SIGKILL to its group
  // Waits for its end, at most so long. Nullopt: it cannot even be killed (it is in the kernel).
  std::optional<ChildEnd> wait(TimeUs patience);

 private:
  pid_t pid_;
  UniqueFd input_;
  UniqueFd output_;
  std::unique_ptr<Claims> claims_;
  UniqueFd lifeline_;
};

}  // namespace pool_server
