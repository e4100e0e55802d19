#pragma once

#include <memory>

#include "children/nursery.h"
#include "children/spawner.h"
#include "core/options.h"

namespace pool_server {

// A process that has the handler of `options` loaded, and whose children run it. It lasts as long
// as this, and then until its children have ended. One for each time that a handler is loaded, so
// that a reload takes a file as it is then.
class Keeper {
 public:
  // Asks for it. Throws std::system_error.
  Keeper(const Nursery& nursery, const Options& options);

  int report() const {
    return begun_.report.get();
  }  // readable when finish() knows what came of it
  // Waits for that. Throws what load_handler() would have.
  void finish();

  int control() const { return spawner_->control(); }  // readable when it has gone
  // Any thread, once finish() has returned.
  const Spawner& spawner() const { return *spawner_; }

 private:
  Spawner::Begun begun_;
  std::unique_ptr<Spawner> spawner_;
};

}  // namespace pool_server
