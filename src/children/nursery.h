#pragma once

#include <sys/types.h>

#include <string_view>

#include "children/messages.h"
#include "children/spawner.h"
#include "core/ids.h"
#include "sys/unique_fd.h"

namespace pool_server {

// The process whose children all others are: small, with one thread, forked before the daemon has
// a second one, so that it may fork in turn; the daemon never forks again. It has nothing of the
// daemon's open but the sockets between the two, and its children have nothing of it but their
// standard streams.
//
// It keeps an eye on the children for the daemon: reads their standard error, takes orders for
// them, waits for them, and kills what is left of their process groups. Children are never left
// behind: the daemon's end, however it comes, ends the nursery (its control socket ends) and all
// children; the nursery's end ends its children (PR_SET_PDEATHSIG), and the daemon sees it on
// control(). A grandchild that has made itself a session of its own is out of reach, and may live
// on.
class Nursery {
 public:
  // Forks it. Before the first thread, and before anything is done for which a copy in another
  // process would be one too many. Throws std::system_error.
  Nursery();
  Nursery(const Nursery&) = delete;
  Nursery& operator=(const Nursery&) = delete;
  ~Nursery() { end(); }

  // Of programs, and of keepers.
  const Spawner& spawner() const { return spawner_; }

  // Tells the loop something of a child, as the nursery does. Any thread. Dropped without room.
  void tell(News kind, std::string_view label, int pid, std::string_view text) noexcept;

  // For the loop, which owns the rest.

  int control() const { return spawner_.control(); }  // readable when the nursery has gone
  pid_t pid() const { return pid_; }
  int news() const { return news_.get(); }  // messages, see messages.h

  // Ends all children, as terminate() does, and the nursery; waits for it. Then nothing of them is
  // left. Other threads may still try to spawn, and fail.
  void end() noexcept;

 private:
  Spawner spawner_{UniqueFd()};
  UniqueFd news_;
  UniqueFd news_in_;
  pid_t pid_ = -1;
};

}  // namespace pool_server
