#include "server/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "sys/crash_report.h"
#include "sys/journal.h"
#include "sys/log_fd.h"

namespace pool_server::log {

namespace {

// What goes with the message that is being logged. One thread logs, so one place is enough.
struct Context {
  std::string_view thread = "main";
  std::string_view event;
  std::initializer_list<Field> fields;
};
Context context;

// The events that the message catalog (packaging/systemd/pool-server.catalog) explains.
struct CatalogEntry {
  std::string_view event;
  std::string_view message_id;
};
constexpr std::array kCatalog = {
    CatalogEntry{"started", "e2e80f523afd49d995d95e7572010e56"},
    CatalogEntry{"stopped", "60f73d493bc54e53b18a18eb12545bec"},
    CatalogEntry{"task-timeout", "7435456a707c4605b8381466377c2c5d"},
    CatalogEntry{"worker-start-failed", "a154a4339f0c496c86e11993a3e3c133"},
    CatalogEntry{"accept-paused", "dddb425f8d7f425196aaeb459ae7ea55"},
    CatalogEntry{"connection-limit", "32ca7becf0a14d1da36d942c911f36db"},
    CatalogEntry{"reload-failed", "15813264dd6c427d9f3cd6ef36e4881e"},
    CatalogEntry{"restored", "184ca17dce8c4afcbd63e42a5b78d055"},
    CatalogEntry{"handed-over", "d779a3c3a08c488b9d4d534b057b7860"},
    CatalogEntry{"worker-stuck", "125bde6b979c4c7ebe87c39db38b2558"},
    CatalogEntry{"pool-stuck", "c26c727e096e4bab9af8c47e557304d9"},
    CatalogEntry{"crashed", "2dcbd50db61448729558da9e72b9d7c7"},
};

std::string_view message_id_of(std::string_view event) {
  const auto* entry = std::ranges::find(kCatalog, event, &CatalogEntry::event);
  return entry == kCatalog.end() ? std::string_view() : entry->message_id;
}

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

class JournalSink final : public spdlog::sinks::base_sink<NullMutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::vector<Journal::Field> fields = {
        {"MESSAGE", std::string(message.payload.data(), message.payload.size())},
        {"PRIORITY", std::to_string(syslog_priority(message.level))},
        {"SYSLOG_IDENTIFIER", "pool-server"},
        {"POOL_SERVER_EVENT", std::string(context.event)},
    };
    const std::string_view id = message_id_of(context.event);
    if (!id.empty()) fields.push_back({"MESSAGE_ID", std::string(id)});
    for (const Field& field : context.fields) fields.push_back({field.name, field.value});
    if (lost_ > 0) fields.push_back({"POOL_SERVER_LOST", std::to_string(lost_)});
    lost_ = journal_.send(fields) ? 0 : lost_ + 1;
  }
  void flush_() override {}

  Journal journal_;
  unsigned long lost_ = 0;  // entries before this one that the journal did not take
};

class StderrSink final : public spdlog::sinks::base_sink<NullMutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    stderr_.write({line.data(), line.size()});
  }
  void flush_() override {}

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
  set_level(level);
}

void set_level(LogLevel level) {
  logger->set_level(to_spdlog(level));
}

bool enabled(LogLevel level) {
  return logger->should_log(to_spdlog(level));
}

void report_crashes(std::string_view handler) {
  crash_report::install(handler, message_id_of("crashed"));
}

void write(LogLevel level, std::string_view event, std::initializer_list<Field> fields,
           std::string_view message) {
  write_for_thread("main", level, event, fields, message);
}

void write_for_thread(std::string_view thread, LogLevel level, std::string_view event,
                      std::initializer_list<Field> fields, std::string_view message) {
  if (logger == nullptr) return;
  context = {thread, event, fields};
  logger->log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace pool_server::log
