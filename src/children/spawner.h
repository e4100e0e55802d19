#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "children/child.h"
#include "children/messages.h"
#include "core/handler.h"
#include "core/ids.h"
#include "sys/event_fd.h"
#include "sys/unique_fd.h"

namespace pool_server {

// What to start, and how.
struct ChildStart {
  SpawnKind kind = SpawnKind::kProgram;
  std::vector<std::string> words;  // see SpawnKind
  bool frames = false;             // of a program: $POOL_SERVER_PROTOCOL is to say so
  std::string label;               // the worker's name, for what is told of the child
  TimeUs grace = 0;                // µs between SIGTERM, or the end of its input, and SIGKILL
  std::size_t address_space = 0;   // its RLIMIT_AS, in bytes; 0: as it is
  std::size_t max_reply = 0;       // bytes, of a keeper's handler
};

// What asks a nursery's process for children: the daemon's end of its control socket. Any thread.
class Spawner {
 public:
  explicit Spawner(UniqueFd control) : control_(std::move(control)) {}

  int control() const { return control_.get(); }  // readable when the process has gone

  struct Spawned {
    std::unique_ptr<Child> child;  // null: it could not be started
    std::string fault;             // why not
  };
  // What ends the wait for a start: `wake` is signalled when `stop` may have been set.
  struct Interruption {
    EventFd& wake;
    const StopToken& stop;
  };
  // Waits until the program runs or cannot be executed, some milliseconds. What it does then, or
  // whether it ends at once, is not waited for. Of a handler it waits for `create`: as long as that
  // takes, or with an `interruption` for kCreatePatience at most. Throws std::bad_alloc.
  Spawned spawn(const ChildStart& start, const Interruption* interruption = nullptr) const;
  static constexpr TimeUs kCreatePatience = 60'000'000;

  // A start that is under way: the ends of what was sent with the request.
  struct Begun {
    UniqueFd lifeline;
    UniqueFd report;  // readable when there is a StartReport, or it failed without one
  };
  // `fds`: those of its kind. Throws std::system_error when it cannot even be asked for.
  Begun begin(const ChildStart& start, const std::vector<int>& fds) const;

 private:
  Spawned try_to_spawn(const ChildStart& start, const Interruption* interruption) const;

  UniqueFd control_;
};

// Takes what came of a start, once that is readable. The text is what is wrong; empty: nothing.
// A `report` that ended without a word was closed by an exec, or by a process that died.
struct StartResult {
  bool ended = false;  // without a word
  StartReport::Kind kind = StartReport::Kind::kRuns;
  std::string fault;
};
StartResult take_start_report(int report);

}  // namespace pool_server
