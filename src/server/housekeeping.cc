#include "server/housekeeping.h"

#include <algorithm>
#include <utility>

#include "server/log.h"
#include "sys/service_manager.h"

namespace pool_server {

namespace {

constexpr TimeUs kStatusPeriod = 1'000'000;
// While tasks wait, the pool is looked at this often; its growth is noticed by clients as latency.
constexpr TimeUs kGrowSample = 2'000;
// While there are more workers than the least, to find out whether they are needed.
constexpr TimeUs kShrinkSample = 250'000;

// What the service manager did not take is tried again after this long.
constexpr TimeUs kRetryNotify = 100'000;
// A thread that could not be created is tried again after this long.
constexpr TimeUs kRetryStart = 1'000'000;

}  // namespace

Housekeeping::Housekeeping(const Options& options, Timers& timers, ThreadPool& pool,
                           Admission& admission, std::function<StatsView()> view)
    : options_(options),
      timers_(timers),
      pool_(pool),
      admission_(admission),
      view_(std::move(view)),
      watchdog_period_(service_manager::watchdog_interval()),
      watchdog_([this](TimeUs now) { feed_watchdog(now); }),
      manager_listens_(service_manager::is_listening()),
      status_due_([](TimeUs) {}),
      sizer_(options.min_workers, options.max_workers, options.worker_idle_timeout),
      sample_due_([](TimeUs) {}) {
  if (watchdog_period_) *watchdog_period_ = std::max<TimeUs>(*watchdog_period_ / 2, 1);
}

Housekeeping::~Housekeeping() {
  timers_.disarm(watchdog_);
  timers_.disarm(status_due_);
  timers_.disarm(sample_due_);
}

void Housekeeping::start(TimeUs now) {
  last_sample_ = now;
  if (watchdog_period_) feed_watchdog(now);
}

void Housekeeping::reconfigure() {
  sizer_ = PoolSizer(options_.min_workers, options_.max_workers, options_.worker_idle_timeout);
  timers_.disarm(sample_due_);
}

void Housekeeping::tick(TimeUs now) {
  tell_status(now);
  const bool sized = pool_.size() == sizer_.min_workers() && pool_.size() == sizer_.max_workers();
  if (!sized && !sample_due_.armed()) size_pool(now);
}

// Fed from the loop and from nowhere else, and only while the pool gets on: neither a loop that
// hangs nor workers that are all stuck must look alive.
void Housekeeping::feed_watchdog(TimeUs now) {
  if (pool_makes_progress()) {
    service_manager::notify("WATCHDOG=1");
    starving_logged_ = false;
  } else if (!std::exchange(starving_logged_, true)) {
    log::attempt([&] {
      log::write(LogLevel::kError, "watchdog-not-fed", {},
                 fmt::format("{} tasks wait and no worker gets on: the watchdog is not fed",
                             pool_.queue().level().depth));
    });
  }
  timers_.arm(watchdog_, now + *watchdog_period_);
}

// Being overloaded is progress: something ended since the last look. So is a task that takes its
// time and may. Waiting tasks with neither are not.
bool Housekeeping::pool_makes_progress() {
  const std::uint64_t ended = admission_.ended();
  const bool any_ended = std::exchange(ended_when_fed_, ended) != ended;
  return any_ended || pool_.queue().level().depth == 0 || pool_.can_progress();
}

void Housekeeping::tell_status(TimeUs now) {
  if (!manager_listens_) return;
  if (now < next_status_) {
    if (!status_due_.armed()) timers_.arm(status_due_, next_status_);
    return;
  }
  std::string status = format_status(view_());
  next_status_ = now + kStatusPeriod;
  if (status == status_) return;
  status_ = std::move(status);
  service_manager::notify("STATUS=" + status_);
}

TimeUs Housekeeping::tell_rest(TimeUs now) {
  TimeUs again = kNever;
  if (service_manager::flush()) {
    deaf_logged_ = false;
  } else {
    again = now + kRetryNotify;
    if (!std::exchange(deaf_logged_, true)) {
      log::write(LogLevel::kWarning, "manager-not-reading", {},
                 "the service manager does not take notifications: they are sent when it does");
    }
  }
  return std::min(again, log::tell_missing(now));
}

void Housekeeping::size_pool(TimeUs now) {
  PoolSample sample;
  sample.now = now;
  sample.workers = pool_.size();
  const TaskQueue::Level level = pool_.queue().level();
  sample.queued = level.depth;
  sample.oldest_wait = level.depth > 0 ? now - level.oldest_since : 0;
  // Needed at once: those at work now, or what the run time since the last look amounts to.
  const TimeUs elapsed = std::max<TimeUs>(now - last_sample_, 1);
  const TimeUs busy_time = admission_.busy_time();
  const auto by_time = static_cast<unsigned>((busy_time - last_busy_time_ + elapsed - 1) / elapsed);
  sample.busy =
      std::min(std::max(static_cast<unsigned>(view_().active_workers), by_time), sample.workers);
  last_busy_time_ = busy_time;
  last_sample_ = now;

  const unsigned wanted = sizer_.decide(sample);
  if (wanted != sample.workers) {
    pool_.resize(wanted);
    if (pool_.start_failure().empty()) {
      start_failure_logged_ = false;
    } else if (!std::exchange(start_failure_logged_, true)) {
      const std::string what =
          fmt::format("cannot start a worker, going on with {}: ", pool_.size());
      log::write(LogLevel::kWarning, "worker-start-failed", {},
                 {what + pool_.start_failure(), what.size()});
    }
    log::write(LogLevel::kDebug, "resized", {}, fmt::format("{} workers", pool_.size()));
  }
  if (!pool_.start_failure().empty()) {
    timers_.arm(sample_due_, now + kRetryStart);
    return;
  }
  const bool may_grow = admission_.outstanding() > 0 && pool_.size() < sizer_.max_workers();
  const bool may_shrink = pool_.size() > sizer_.min_workers();
  if (may_grow) {
    timers_.arm(sample_due_, now + kGrowSample);
  } else if (may_shrink) {
    timers_.arm(sample_due_, now + kShrinkSample);
  }
}

}  // namespace pool_server
