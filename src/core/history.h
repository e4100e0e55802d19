#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "core/server_state.h"

namespace pool_server {

// What went on in the last quarter of an hour, a row for each step of it, so that who looks at 3:00
// sees 2:50. Rows are kept as they are told: some 70 KiB, and as much again for the histograms that
// the percentiles of a while are made of. Pure.
class History {
 public:
  static constexpr TimeUs kStep = 2'000'000;
  static constexpr std::size_t kRows = 450;

  // Counts from `counters` on.
  explicit History(const Counters& counters);

  // A step has ended; `state` is what there is at its end.
  void add(const ServerState& state);

  // Of about the last 10 s. Nullopt: nothing ran.
  std::optional<ServerState::Percentiles> wait(const Counters& counters) const;
  std::optional<ServerState::Percentiles> run(const Counters& counters) const;

  // The contract of /history.json; `since`: only rows of that time or later, in seconds.
  std::string json(double since) const;

 private:
  static constexpr std::size_t kWindow = 5;  // steps that are about the last 10 s

  struct Row {
    std::int64_t time = 0;  // seconds of Unix time
    std::string json;
  };

  TimeUs last_ = 0;  // when a step ended last, in Unix time; 0: none has
  std::deque<Row> rows_;
  // As they were at the end of the steps before, the last one at the end.
  std::deque<Counters> before_;
};

}  // namespace pool_server
