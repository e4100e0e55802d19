#pragma once

#include <memory>
#include <string>

#include "children/keeper.h"
#include "children/nursery.h"
#include "children/roster.h"
#include "core/handler.h"
#include "core/options.h"

namespace pool_server {

// A pool whose work is done in processes of their own, one for each worker: those of a program
// (--program), or of a handler (--isolate). Main thread, but for what its handlers do.
class ChildPool final : public HandlerModule {
 public:
  // Starts the first worker's child, to find out whether that can be done; a handler is loaded
  // first. Throws std::runtime_error that says why not, and ConfigurationError as load_handler()
  // does. `nursery` outlives it.
  ChildPool(Nursery& nursery, const Options& options);

  // The first is for the worker of number 0.
  std::unique_ptr<Handler> make() override;

  // Has all children replaced, as their turn comes, by what `options` ask for. `keeper` has loaded
  // their handler; null: they are programs. Throws std::bad_alloc.
  void change(const Options& options, std::shared_ptr<const Keeper> keeper);
  // What the children that are started now run; null: programs.
  const std::shared_ptr<const Keeper>& keeper() const { return keeper_; }
  Roster& roster() { return roster_; }

 private:
  ChildPool(Nursery& nursery, const Options& options,
            const std::shared_ptr<const ChildSettings>& settings);

  Nursery& nursery_;
  Roster roster_;
  std::shared_ptr<const Keeper> keeper_;
  const ProgramProtocol protocol_;
  std::unique_ptr<Child> first_;
};

// Why the program that `options` name could not be started; empty: nothing speaks against it.
std::string program_fault(const Options& options);

}  // namespace pool_server
