#include "core/log_limiter.h"

#include <algorithm>
#include <utility>

namespace pool_server {

std::optional<std::uint64_t> LogLimiter::admit(std::size_t kind, LogLevel level, TimeUs now) {
  Kind& of = kinds_[kind];
  forget_if_quiet(of, now);
  of.wanted_at = now;
  if (now >= of.free_at) {
    take_turn(of, now);
    return std::exchange(of.left_out, 0);
  }
  of.level = of.left_out == 0 ? level : std::max(of.level, level);
  ++of.left_out;
  due_ = std::min(due_, of.free_at + kPeriod);
  return std::nullopt;
}

std::vector<LogLimiter::LeftOut> LogLimiter::take_due(TimeUs now) {
  std::vector<LeftOut> taken;
  if (now < due_) return taken;
  due_ = kNever;
  for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
    Kind& of = kinds_[kind];
    if (of.left_out == 0) continue;
    if (of.free_at + kPeriod > now) {
      due_ = std::min(due_, of.free_at + kPeriod);
      continue;
    }
    taken.push_back({kind, of.level, std::exchange(of.left_out, 0)});
    forget_if_quiet(of, now);
    take_turn(of, now);
  }
  return taken;
}

void LogLimiter::forget_if_quiet(Kind& of, TimeUs now) {
  if (now - of.wanted_at >= kLongPeriod) of.logged = 0;
}

void LogLimiter::take_turn(Kind& of, TimeUs now) {
  of.free_at = now + (++of.logged < kPrompt ? kPeriod : kLongPeriod);
}

std::vector<LogLimiter::LeftOut> LogLimiter::take_all() {
  std::vector<LeftOut> taken;
  for (std::size_t kind = 0; kind < kinds_.size(); ++kind) {
    Kind& of = kinds_[kind];
    if (of.left_out > 0) taken.push_back({kind, of.level, std::exchange(of.left_out, 0)});
  }
  due_ = kNever;
  return taken;
}

}  // namespace pool_server
