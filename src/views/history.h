#pragma once

#include <optional>
#include <vector>

#include "views/server_state.h"

namespace pool_server::views {

// The last minute of a server's history, kept over its restarts. Pure.
class History {
 public:
  static constexpr double kSpan = 60;

  // `rows` in any order, some of which may be known already; `now`: the server's clock. What is
  // older than the span, or later than now, is dropped.
  void merge(const std::vector<HistoryRow>& rows, double now);

  // Oldest first.
  const std::vector<HistoryRow>& rows() const { return rows_; }
  // The time of the last row, to ask for what comes then; 0: there is none.
  double last() const { return rows_.empty() ? 0 : rows_.back().time; }
  double next() const { return rows_.empty() ? 0 : last() + rows_.back().step; }

  // How many a second there were in the last step; none: the last row is older than two.
  std::optional<HistoryRow> rates(double now) const;

 private:
  std::vector<HistoryRow> rows_;
};

}  // namespace pool_server::views
