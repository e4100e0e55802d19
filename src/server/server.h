#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "children/nursery.h"
#include "core/handler.h"
#include "core/options.h"
#include "core/stats.h"
#include "handlers/registry.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "net/connection_table.h"
#include "pool/completion_queue.h"
#include "pool/run_recycler.h"
#include "pool/thread_pool.h"
#include "server/admission.h"
#include "server/children_watch.h"
#include "server/clients.h"
#include "server/command_line.h"
#include "server/drain.h"
#include "server/housekeeping.h"
#include "server/pool_watch.h"
#include "server/reply_router.h"
#include "server/reporting.h"
#include "server/sockets.h"
#include "server/succession.h"
#include "sys/descriptor_reserve.h"
#include "sys/signal_fd.h"
#include "sys/socket_address.h"

namespace pool_server {

// The composition root: the parts in the order they are built, and the order of a round's end. No
// decision is made here.
class Server final : private RoundHooks, private EventSource, private DrainHost {
 public:
  // Serves on `sockets`. `signals` has the stop signals blocked in every thread already. Throws
  // std::runtime_error when the handler cannot be loaded, std::system_error when not a single
  // worker can be started. `read_options` reads command line and configuration anew, for a reload.
  // `nursery` is there if the options ask for a program, and outlives this. `http` is there if
  // there is to be a monitor.
  Server(Options options, StartingSockets sockets, SignalFd& signals,
         std::function<CommandLine()> read_options, Nursery* nursery, const HttpModule* http);
  ~Server();

  struct End {
    int exit_status = 0;
    bool workers_busy = false;  // they cannot be joined
  };
  // Until a stop signal has been obeyed, or nothing can be done any more. Throws nothing.
  End run();

 private:
  End serve();
  End fail(const char* reason) noexcept;
  // RoundHooks
  TimeUs end_of_round(TimeUs now) override;
  TimeUs finish_round(TimeUs now);
  // EventSource, of the completion queue's eventfd
  void on_events(std::uint32_t events) override;

  // DrainHost
  Begun begin_drain(Asked asked) override;
  void request_reload() override { reload_requested_ = true; }
  void toggle_lame_duck() override { lame_duck_asked_ = !lame_duck_asked_; }

  // Throws std::runtime_error when the limit of descriptors leaves none for a client, `ending` of
  // those that are open aside.
  void check_descriptors(std::size_t ending);
  void configure_queue(StandingWaits waits);
  End end_cut_short(bool all_kept);
  void reload();
  void switch_lame_duck();
  void take_over(Options wanted);
  // When to be called again.
  TimeUs drain(TimeUs now);
  bool all_is_delivered(TimeUs now);
  StatsView view();
  void start_reporting(StartingSockets& sockets, const HttpModule* http);
  ServerState::Phase phase() const;

  DescriptorReserve reserve_;
  Options options_;  // changed by reload() only, between two rounds
  Counters counters_;
  Timers timers_;
  EventLoop loop_;
  CompletionQueue completions_;
  LongestReply longest_reply_;
  const std::unique_ptr<HandlerModule> handler_;
  ThreadPool pool_;
  RunRecycler recycler_;
  ConnectionTable connections_;
  ReplyRouter router_;
  Admission admission_;
  Clients clients_;
  PoolWatch watch_;
  Succession succession_;
  Housekeeping housekeeping_;
  Drain drain_;
  std::function<CommandLine()> read_options_;
  bool reload_requested_ = false;
  bool lame_duck_ = false;
  bool lame_duck_asked_ = false;  // to begin it, or to end it
  bool delivers_first_ = false;   // the hand-over that was prepared is one after a stop's work
  TimeUs look_for_delivery_at_ = 0;
  std::unique_ptr<ChildrenWatch> children_;  // null: the work is not a program's
  bool nursery_gone_ = false;
  std::unique_ptr<Reporting> reporting_;  // null: nobody asks for it

  const TimeUs started_at_;
  const std::int64_t started_at_unix_;  // µs
};

}  // namespace pool_server
