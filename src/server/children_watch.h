#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "children/child_pool.h"
#include "children/keeper.h"
#include "children/messages.h"
#include "children/nursery.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "pool/thread_pool.h"

namespace pool_server {

// The loop's side of a pool of processes: tells what the children say and how they fare, has
// workers look after children that ended while there was nothing to do, and lets one after the
// other be replaced at a reload, once their handler has been loaded anew. Loop thread only; nothing
// of it waits for a child.
class ChildrenWatch final : private EventSource {
 public:
  // `on_gone`: the nursery has gone, and no child can be had any more. Called once, while events
  // are dispatched.
  ChildrenWatch(Nursery& nursery, ChildPool& children, const Options& options, ThreadPool& pool,
                EventLoop& loop, Timers& timers, std::function<void()> on_gone);
  ChildrenWatch(const ChildrenWatch&) = delete;
  ChildrenWatch& operator=(const ChildrenWatch&) = delete;
  ~ChildrenWatch();

  // Begins to replace all children by what `options` ask for; of a handler, if that can be loaded.
  // Throws std::bad_alloc, and has changed nothing then.
  void replace(const Options& options);
  // Ends them all, and tells what they say at that: at the end of the server.
  void finish();
  // Some worker can keep a child alive.
  bool any_able() { return children_.roster().any_able(); }
  // That is loaded: not yet, or never, what a reload asks for. Of a program: as at the start.
  const std::string& handler() const { return handler_; }
  // Of the process whose children all others are.
  pid_t nursery() const { return nursery_.pid(); }
  // The worker of that index cannot, as it is now.
  bool is_unable(unsigned worker) { return children_.roster().is_unable(worker); }

 private:
  void on_events(std::uint32_t events) override;
  void take_news();
  void listen_again(TimeUs now);
  bool read_news();
  void begin_to_load(const Options& options);
  bool load_what_waits();
  void end_loading() noexcept;
  void take_loaded();
  bool is_lost() const;
  void take(const NewsHeader& header, std::string_view label, std::string& text);
  void pass_turn(TimeUs now);
  void look_after_the_unable(TimeUs now);

  Nursery& nursery_;
  ChildPool& children_;
  ThreadPool& pool_;
  EventLoop& loop_;
  Timers& timers_;
  std::function<void()> on_gone_;
  std::string name_;  // of the program or handler, for the log
  std::string handler_;
  std::shared_ptr<Keeper> loading_;  // what is to take the place of the handler; null: nothing
  Options loading_for_;
  bool load_again_ = false;  // for load_next_, when that is done
  Options load_next_;
  bool gone_ = false;
  // Always armed, be it for never: to arm what is armed takes no memory.
  CallbackTimer turn_;
  CallbackTimer unable_;
  CallbackTimer listen_again_;
};

}  // namespace pool_server
