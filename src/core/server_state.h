#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/recent_log.h"
#include "core/stats.h"

namespace pool_server {

// What a monitor gets to see: a value, filled when one asks. No text of a request is in it. Times
// are in µs; those of the clock are Unix time.
struct ServerState {
  enum class Phase : unsigned char { kServing, kLameDuck, kDraining, kHandingOver };

  struct Worker {
    enum class State : unsigned char {
      kIdle,
      kRunning,
      kStuck,    // it does not come back from a task that was answered in its place
      kCrashed,  // its program cannot be kept alive
    };
    unsigned index = 0;
    State state = State::kIdle;
    bool at_work = false;  // then the next three say on what
    std::uint64_t task = 0;
    std::uint64_t connection = 0;
    TimeUs busy_for = 0;
  };

  struct Client {
    std::uint64_t connection = 0;
    std::string peer;
    std::uint64_t requests = 0;
    std::uint64_t in_flight = 0;
    TimeUs work = 0;  // of workers, for it
  };

  // What a process, or several together, have had of the machine.
  struct Usage {
    std::uint64_t cpu = 0;       // µs
    std::uint64_t resident = 0;  // bytes
  };

  // Of durations in a while.
  struct Percentiles {
    TimeUs p50 = 0;
    TimeUs p99 = 0;
    TimeUs max = 0;
  };

  std::string_view version;
  std::string handler;  // or the name of the program
  int pid = 0;
  std::int64_t now = 0;
  std::int64_t started = 0;
  Phase phase = Phase::kServing;
  std::string not_ready_because;  // empty: it would take work now

  std::size_t queue_depth = 0;
  std::size_t queue_capacity = 0;
  std::vector<Worker> workers;
  unsigned workers_min = 0;
  unsigned workers_max = 0;
  bool no_worker_available = false;  // no program can be kept alive
  bool can_grow = false;             // the pool, as soon as requests wait

  std::size_t connections = 0;
  std::size_t connections_limit = 0;
  std::vector<Client> greediest;  // most work first

  Counters counters;
  std::optional<Percentiles> wait;  // of about the last 10 s; nullopt: nothing ran
  std::optional<Percentiles> run;
  std::vector<RecentLog::Line> log;  // oldest first

  Usage process;  // its CPU time includes that of the processes before it
  std::optional<Usage> programs;
};

// How many of the workers are in that state.
std::size_t count_workers(const ServerState& state, ServerState::Worker::State which);
std::string_view name_of(ServerState::Phase phase);
std::string_view name_of(ServerState::Worker::State state);

// Tasks that ended well; what the other counters do not say.
std::uint64_t succeeded(const Counters& counters);

// Why no worker can get on, of `workers` of which so many are stuck; empty: one can, or could.
std::string_view why_no_progress(bool no_worker_available, bool can_grow, std::size_t workers,
                                 std::size_t stuck);

// Why no work should be sent here; empty: nothing speaks against it. `queue_full_for`: see
// FullQueue.
std::string why_not_ready(const ServerState& state, TimeUs queue_full_for);

// The contract of /state.json.
std::string state_json(const ServerState& state);

// For how long there has been next to no room in the queue, as far as it was looked at. Pure.
class FullQueue {
 public:
  // From when on a full queue is told: a burst is what the queue is for.
  static constexpr TimeUs kPatience = 5'000'000;

  // Returns for how long, in µs; 0: there is room. A queue that workers take from and clients fill
  // is full but for a few, hence nine tenths.
  TimeUs look(std::size_t depth, std::size_t capacity, TimeUs now) {
    const bool full = depth > 0 && depth * 10 >= capacity * 9;
    if (!full) {
      since_ = kNever;
      return 0;
    }
    if (since_ == kNever) since_ = now;
    return now - since_;
  }

 private:
  TimeUs since_ = kNever;
};

}  // namespace pool_server
