#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "core/options.h"
#include "core/stats.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "net/connection_table.h"
#include "pool/completion_queue.h"
#include "pool/task_recycler.h"
#include "pool/thread_pool.h"
#include "server/admission.h"
#include "server/clients.h"
#include "server/command_line.h"
#include "server/drain.h"
#include "server/handover.h"
#include "server/housekeeping.h"
#include "server/reply_router.h"
#include "server/sockets.h"
#include "sys/signal_fd.h"
#include "sys/socket_address.h"

namespace pool_server {

// The composition root: the parts in the order they are built, and the order of a round's end. No
// decision is made here.
class Server final : private RoundHooks, private EventSource {
 public:
  // Serves on `sockets`. `signals` has the stop signals blocked in every thread already. Throws
  // std::system_error when not a single worker can be started.
  // `read_options` reads command line and configuration anew, for a reload.
  Server(Options options, StartingSockets sockets, SignalFd& signals,
         std::function<CommandLine()> read_options);
  ~Server();

  struct End {
    int exit_status = 0;
    bool workers_busy = false;  // they cannot be joined
  };
  // Until a stop signal has been obeyed.
  End run();

 private:
  // RoundHooks
  TimeUs end_of_round(TimeUs now) override;
  // EventSource, of the completion queue's eventfd
  void on_events(std::uint32_t events) override;

  void collect(std::vector<TaskPtr>& ended);
  TimeUs inspect_pool(TimeUs now, bool submitted);
  void report_stuck_workers();
  void configure_queue();
  void begin_drain();
  void reload();
  void drain(TimeUs now);
  // Takes up what an earlier process left.
  void inherit(std::vector<UniqueFd> handovers);
  // Leaves to the next process what is still open.
  void hand_over();
  std::vector<TaskPtr> take_undone_work();
  void report_abandoned_work();
  StatsView view();

  Options options_;  // changed by reload() only, between two rounds
  Counters counters_;
  Timers timers_;
  EventLoop loop_;
  CompletionQueue completions_;
  ThreadPool pool_;
  TaskRecycler recycler_;
  ConnectionTable connections_;
  ReplyRouter router_;
  Admission admission_;
  Clients clients_;
  Housekeeping housekeeping_;
  Drain drain_;
  std::function<CommandLine()> read_options_;
  bool reload_requested_ = false;
  std::optional<Handover> handover_;  // during a drain: open connections are to be carried over

  const TimeUs started_at_;
  TimeUs inspect_at_ = kNever;
  bool pool_stuck_ = false;
  std::vector<TaskPtr> ended_;
  ThreadPool::Inspection inspection_;
};

}  // namespace pool_server
