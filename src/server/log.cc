#include "server/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/log_limiter.h"
#include "sys/clock.h"
#include "sys/crash_report.h"
#include "sys/journal.h"
#include "sys/log_fd.h"

namespace pool_server::log {

namespace {

// What goes with the message that is being logged. One thread logs, so one place is enough.
struct Context {
  std::string_view thread = "main";
  const EventInfo* event = nullptr;
  std::initializer_list<Field> fields;
  std::uint64_t left_out = 0;  // before this one
  bool is_count = false;       // it tells of those that were left out, and of nothing else
};
Context context;

// Messages that could not be written, and have not been told of.
struct Dropped {
  // At the least between two tries to tell. Who tries for no other reason than that doubles it each
  // time: a log that has stopped for good must not keep the loop awake.
  static constexpr TimeUs kPause = 1'000'000;
  static constexpr TimeUs kLongestPause = 64 * kPause;

  std::uint64_t count = 0;
  TimeUs tried_at = -kPause;
  TimeUs pause = kPause;
};
Dropped dropped;

int syslog_priority(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return 7;
    case spdlog::level::info:
      return 6;
    case spdlog::level::warn:
      return 4;
    case spdlog::level::err:
      return 3;
    default:
      return 2;
  }
}

using NullMutex = spdlog::details::null_mutex;  // one thread logs

// Counts what it could not deliver.
class Sink : public spdlog::sinks::base_sink<NullMutex> {
  virtual bool deliver(const spdlog::details::log_msg& message) = 0;  // may throw

  void sink_it_(const spdlog::details::log_msg& message) final {
    ++dropped.count;
    if (deliver(message)) --dropped.count;
  }
  void flush_() final {}
};

class JournalSink final : public Sink {
  bool deliver(const spdlog::details::log_msg& message) override {
    std::vector<Journal::Field> fields = {
        {"MESSAGE", std::string(message.payload.data(), message.payload.size())},
        {"PRIORITY", std::to_string(syslog_priority(message.level))},
        {"SYSLOG_IDENTIFIER", "pool-server"},
        {"POOL_SERVER_EVENT", std::string(context.event->name)},
    };
    const std::string_view id = context.event->message_id;
    if (!id.empty() && !context.is_count) fields.push_back({"MESSAGE_ID", std::string(id)});
    for (const Field& field : context.fields) fields.push_back({field.name, field.value});
    if (context.left_out > 0) {
      fields.push_back({"POOL_SERVER_LEFT_OUT", std::to_string(context.left_out)});
    }
    return journal_.send(fields);
  }

  Journal journal_;
};

class StderrSink final : public Sink {
  bool deliver(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    return stderr_.write({line.data(), line.size()});
  }

  LogFd stderr_;
};

class ThreadFlag final : public spdlog::custom_flag_formatter {
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& out) override {
    out.append(context.thread.data(), context.thread.data() + context.thread.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<ThreadFlag>();
  }
};

std::unique_ptr<spdlog::logger> logger;
std::unique_ptr<LogLimiter> limiter;  // there with the logger
bool keeps_recent = false;
RecentLog kept;

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

// What a monitor shows of the log: what was left out before a line counts with it.
void keep(LogLevel level, const Context& with, const Message& message) {
  if (!keeps_recent || level < LogLevel::kWarning) return;
  attempt([&] {
    kept.add(unix_now(), level, with.event->name, message.text.substr(0, message.own),
             1 + with.left_out);
  });
}

void deliver(LogLevel level, const Context& with, std::string_view message) {
  context = with;
  logger->log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

// Goes past the level: what is missing may have been errors. True: nothing is missing any more.
bool tell_dropped(TimeUs now) {
  const std::uint64_t count = std::exchange(dropped.count, 0);
  dropped.tried_at = now;
  context = {.event = &Event("log-dropped").info(), .fields = {}, .left_out = count};
  const std::string text = fmt::format("{} lines were lost: nothing took them", count);
  try {
    logger->sinks().front()->log(
        {logger->name(), spdlog::level::warn, spdlog::string_view_t(text.data(), text.size())});
  } catch (const std::exception&) {  // no memory for it
  }
  if (dropped.count == 0) return true;
  dropped.count = count;
  return false;
}

void tell_left_out(const std::vector<LogLimiter::LeftOut>& all) {
  for (const auto& [kind, level, count] : all) {
    const EventInfo& event = kEvents[kind];
    kept.add_to_last(event.name, count);
    deliver(level, {.event = &event, .fields = {}, .left_out = count, .is_count = true},
            fmt::format("left out {} more of the event '{}'", count, event.name));
  }
}

}  // namespace

void set_up(LogLevel level) {
  spdlog::sink_ptr sink;
  if (stderr_is_journal()) {
    sink = std::make_shared<JournalSink>();
  } else {
    sink = std::make_shared<StderrSink>();
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<ThreadFlag>('*').set_pattern("%Y-%m-%d %H:%M:%S.%e %l [%*] %v");
    sink->set_formatter(std::move(formatter));
  }
  logger = std::make_unique<spdlog::logger>("pool-server", std::move(sink));
  logger->set_error_handler([](const std::string&) {});  // a log that fails is no event
  limiter = std::make_unique<LogLimiter>(kEvents.size());
  set_level(level);
}

void set_level(LogLevel level) {
  logger->set_level(to_spdlog(level));
}

bool enabled(LogLevel level) {
  return logger->should_log(to_spdlog(level));
}

void keep_recent() {
  keeps_recent = true;
}

const RecentLog& recent() {
  return kept;
}

void count_dropped() {
  ++dropped.count;
}

void report_crashes(std::string_view handler) {
  crash_report::install(handler, Event("crashed").info().message_id);
}

void write(LogLevel level, Event event, std::initializer_list<Field> fields,
           const Message& message) {
  write_for_thread("main", level, event, fields, message);
}

void write_for_thread(std::string_view thread, LogLevel level, Event event,
                      std::initializer_list<Field> fields, const Message& message) {
  if (logger == nullptr || !enabled(level)) return;
  if (dropped.count > 0) {
    const TimeUs now = monotonic_now();
    if (now - dropped.tried_at >= Dropped::kPause) tell_dropped(now);
  }
  Context with{.thread = thread, .event = &event.info(), .fields = fields};
  if (level == LogLevel::kDebug || event.info().repeats == Repeats::kEachIsNews) {
    keep(level, with, message);
    deliver(level, with, message.text);
    return;
  }
  const auto left_out = limiter->admit(event.index(), level, monotonic_now());
  if (!left_out) return;
  with.left_out = *left_out;
  keep(level, with, message);
  if (*left_out == 0) {
    deliver(level, with, message.text);
  } else {
    deliver(level, with, fmt::format("{} (left out before: {} more)", message.text, *left_out));
  }
}

TimeUs tell_missing(TimeUs now) {
  if (now >= limiter->due()) tell_left_out(limiter->take_due(now));
  if (dropped.count == 0) return limiter->due();
  if (now - dropped.tried_at >= dropped.pause) {
    const bool told = tell_dropped(now);
    dropped.pause = told ? Dropped::kPause : std::min(2 * dropped.pause, Dropped::kLongestPause);
  }
  const TimeUs again = dropped.count == 0 ? kNever : dropped.tried_at + dropped.pause;
  return std::min(again, limiter->due());
}

void tell_all_missing() {
  if (logger == nullptr) return;
  tell_left_out(limiter->take_all());
  if (dropped.count > 0) tell_dropped(monotonic_now());
}

void write_fault(Event event, std::string_view fault) {
  if (stderr_is_journal()) {
    if (logger == nullptr) set_up(LogLevel::kError);
    const std::uint64_t missing = dropped.count;
    write(LogLevel::kError, event, {}, fault);
    if (dropped.count <= missing) return;
    dropped.count = missing;
  }
  LogFd().write(fmt::format("pool-server: {}\n", fault));
}

}  // namespace pool_server::log
