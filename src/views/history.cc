#include "views/history.h"

#include <algorithm>

namespace pool_server::views {

void History::merge(const std::vector<HistoryRow>& rows, double now) {
  rows_.insert(rows_.end(), rows.begin(), rows.end());
  // Of two rows of one time the later told one counts.
  std::ranges::stable_sort(rows_, {}, &HistoryRow::time);
  std::vector<HistoryRow> kept;
  for (const HistoryRow& row : rows_) {
    if (row.time <= now - kSpan || row.time > now + row.step) continue;
    if (!kept.empty() && kept.back().time == row.time) kept.pop_back();
    kept.push_back(row);
  }
  rows_ = std::move(kept);
}

std::optional<HistoryRow> History::rates(double now) const {
  if (rows_.empty() || now - last() > 2.5 * rows_.back().step) return std::nullopt;
  const HistoryRow& row = rows_.back();
  return HistoryRow{row.time,
                    1,
                    row.ok / row.step,
                    row.error / row.step,
                    row.timeout / row.step,
                    row.shed / row.step,
                    row.crashed / row.step};
}

}  // namespace pool_server::views
