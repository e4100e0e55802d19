#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/ids.h"
#include "core/server_state.h"

namespace pool_server {

// What balancers are told (HAProxy's agent-check), made of looks at the server. Pure: samples in, a
// line out; how often the line is asked for changes nothing.
//
//   drain             a stop was asked for, or no newcomers are wanted (lame duck)
//   down #REASON      no worker can get on: as /readyz says it (why_no_progress)
//   up N% ready       all else, a restart that keeps the clients included. "ready", as HAProxy
//                     keeps to a drain until that word takes it back.
//   stopped #REASON   the server has ended; said by who asks when it does
//
// N is how much of what it could do at best the server can do for newcomers: rate × free.
//
//   rate   requests/s that the workers could do now, of those that are 100%: min(1, able / mean /
//          full). `able`: workers that can get on, or could be started; `mean`: the run time that a
//          reply costs which is no error, smoothed; `full` is configured, or what this server has
//          been seen to do at its best.
//   free   1, less what a newcomer would wait, of kLongWait or two mean run times, whichever is
//          more; and 0 when the queue is full, 1 when it is half full. Smoothed.
//
// Bounded to 1 to 100: 0% would be a drain. Smoothed is an exponential average over kSmooth, as
// what moves faster than balancers ask makes all of them run after who was idle a moment ago: so
// nothing is in it of how many workers are idle.
class AgentReport {
 public:
  static constexpr double kSmooth = 5e6;      // µs
  static constexpr double kLongWait = 100e3;  // µs
  // How long it takes to believe that a request can be done faster, and to forget that it could.
  static constexpr double kLearn = 30e6;     // µs
  static constexpr double kForget = 3600e6;  // µs
  // Of successes in kSmooth, to learn anything from them.
  static constexpr double kEnough = 8;
  // A server that hardly works is taken to be at its best: what it works counts against as much as
  // this share of its workers would do.
  static constexpr double kIdle = 0.01;

  static constexpr std::string_view kDrain = "drain\n";
  static constexpr std::string_view kStopped = "stopped #it has ended\n";

  struct Sample {
    TimeUs now = 0;
    std::size_t workers = 0;  // that there should be
    std::size_t able = 0;     // ... less those that cannot get on
    std::size_t queue_depth = 0;
    std::size_t queue_capacity = 0;
    // Totals, of all time:
    std::uint64_t succeeded = 0;  // replies that were no error
    std::uint64_t run_time = 0;   // of all tasks that ended, µs
    // At this moment:
    std::size_t running = 0;  // tasks on a worker,
    TimeUs running_for = 0;   // ... and how long they have been there, added up
    double full = 0;          // requests/s that are 100%; 0: what it has been seen to do
  };

  // What one process of the service tells the next; 0: not known.
  struct Memory {
    std::uint64_t best = 0;  // run time at its best, ns
    std::uint64_t mean = 0;  // ... as it is, ns
    std::uint64_t free = 0;  // millionths
  };

  explicit AgentReport(const Memory& before);

  // A look, some time after the one before.
  void add(const Sample& sample);
  // With its LF. `hopeless`: see why_no_progress, at this moment.
  std::string line(ServerState::Phase phase, std::string_view hopeless) const;
  unsigned percent() const { return percent_; }
  Memory memory() const;

 private:
  void learn(double elapsed);
  double best_run(const Sample& sample) const;
  double mean(const Sample& sample, double best) const;
  static double free_now(const Sample& sample, double mean);

  bool first_ = true;
  Sample last_;
  // Smoothed sums, so that a ratio of them is not noise where there is little.
  double work_ = 0;       // run time, µs
  double successes_ = 0;  // replies that were no error
  double best_ = 0;       // µs of a reply; 0: not known
  double free_ = 1;
  unsigned percent_ = 100;
};

}  // namespace pool_server
