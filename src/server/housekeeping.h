#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/options.h"
#include "core/pool_sizer.h"
#include "core/stats.h"
#include "loop/timers.h"
#include "pool/thread_pool.h"
#include "server/admission.h"

namespace pool_server {

// What is due from time to time: the watchdog, STATUS=, and the size of the pool. Nothing of it
// runs while the server is idle, but for the watchdog. Loop thread only.
class Housekeeping {
 public:
  Housekeeping(const Options& options, Timers& timers, ThreadPool& pool, Admission& admission,
               std::function<StatsView()> view);
  Housekeeping(const Housekeeping&) = delete;
  Housekeeping& operator=(const Housekeeping&) = delete;
  ~Housekeeping();

  void start(TimeUs now);
  // Options have changed.
  void reconfigure();
  // End of round.
  void tick(TimeUs now);
  // Last in the round: tells what the service manager did not take and the log left out. Returns
  // when it is to be called again; kNever: not before there is more to tell.
  TimeUs tell_rest(TimeUs now);

 private:
  void feed_watchdog(TimeUs now);
  bool pool_makes_progress();
  void tell_status(TimeUs now);
  void size_pool(TimeUs now);

  const Options& options_;
  Timers& timers_;
  ThreadPool& pool_;
  Admission& admission_;
  std::function<StatsView()> view_;

  std::optional<TimeUs> watchdog_period_;
  CallbackTimer watchdog_;
  std::uint64_t ended_when_fed_ = 0;
  bool starving_logged_ = false;

  const bool manager_listens_;
  std::string status_;      // as told last
  TimeUs next_status_ = 0;  // at most one a second
  CallbackTimer status_due_;
  bool deaf_logged_ = false;

  PoolSizer sizer_;
  TimeUs last_sample_ = 0;
  TimeUs last_busy_time_ = 0;
  CallbackTimer sample_due_;
  bool start_failure_logged_ = false;
};

}  // namespace pool_server
