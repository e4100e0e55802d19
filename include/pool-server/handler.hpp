// pool-server handlers in C++20: a class or a function, and one line that exports it.
//
//   struct Upper {
//     pool_server::Reply handle(std::string_view request, const pool_server::Stop&) {
//       std::string text(request);
//       for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
//       return text;
//     }
//   };
//   POOL_SERVER_HANDLER(Upper)
//
// Compiled to a shared object: c++ -std=c++20 -O2 -shared -fPIC upper.cc -o upper.so
// Header only; see handler.h for threads and limits, and pool-server-handler(3).

#ifndef POOL_SERVER_HANDLER_HPP
#define POOL_SERVER_HANDLER_HPP

#include <pool-server/handler.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace pool_server {

// What a client gets: "result: TEXT" from a string of any kind, "ERROR: TEXT" from Reply::error().
class Reply {
 public:
  Reply(std::string text) : text_(std::move(text)) {}
  Reply(std::string_view text) : text_(text) {}
  Reply(const char* text) : text_(text) {}
  static Reply error(std::string text) {
    Reply reply(std::move(text));
    reply.is_error_ = true;
    return reply;
  }

  const std::string& text() const { return text_; }
  bool is_error() const { return is_error_; }

 private:
  std::string text_;
  bool is_error_ = false;
};

// Whether anybody still waits for the reply; to be asked every few milliseconds.
class Stop {
 public:
  explicit Stop(const pool_server_task& task) : task_(task) {}
  bool requested() const { return task_.stop_requested(&task_) != 0; }

 private:
  const pool_server_task& task_;
};

// Tells of this request in the server's log, with its worker, task and connection; never the
// client. For handle(), on its thread. What is too much for one request is left out.
class Log {
 public:
  explicit Log(pool_server_task& task) : task_(task) {}
  void error(std::string_view text) const { write(POOL_SERVER_LOG_ERROR, text); }
  void warning(std::string_view text) const { write(POOL_SERVER_LOG_WARNING, text); }
  void info(std::string_view text) const { write(POOL_SERVER_LOG_INFO, text); }
  void debug(std::string_view text) const { write(POOL_SERVER_LOG_DEBUG, text); }

 private:
  void write(int level, std::string_view text) const {
    task_.log(&task_, level, text.data(), text.size());
  }

  pool_server_task& task_;
};

// The --handler-option settings. One that the handler's constructor does not ask for is an error.
class HandlerOptions {
 public:
  explicit HandlerOptions(std::string_view configuration) {
    while (!configuration.empty()) {
      const std::string_view line = configuration.substr(0, configuration.find('\n'));
      configuration.remove_prefix(std::min(line.size() + 1, configuration.size()));
      const std::size_t equals = std::min(line.find('='), line.size());
      const std::size_t value = std::min(equals + 1, line.size());
      settings_.push_back({std::string(line.substr(0, equals)), std::string(line.substr(value))});
    }
  }

  // The last value given for `key`, or `fallback`.
  std::string get(std::string_view key, std::string_view fallback = {}) const {
    std::string value(fallback);
    for (const Setting& setting : settings_) {
      if (setting.key != key) continue;
      setting.known = true;
      value = setting.value;
    }
    return value;
  }

  // Throws std::invalid_argument for the first key that get() was not asked for.
  void refuse_unknown() const {
    for (const Setting& setting : settings_) {
      if (!setting.known) throw std::invalid_argument("there is no option '" + setting.key + "'");
    }
  }

 private:
  struct Setting {
    std::string key;
    std::string value;
    mutable bool known = false;
  };
  std::vector<Setting> settings_;
};

namespace detail {

// A function as a handler without instances of its own.
template <auto function>
struct FunctionHandler {
  Reply handle(std::string_view request, const Stop& stop, const Log& log) {
    if constexpr (std::is_invocable_v<decltype(function), std::string_view, const Stop&,
                                      const Log&>) {
      return function(request, stop, log);
    } else {
      return function(request, stop);
    }
  }
};

// The C interface to class H. Every exception ends here.
template <class H>
struct Adapter {
  static int create(const char* configuration, void** instance, char* error,
                    std::size_t error_size) noexcept {
    try {
      const HandlerOptions options(configuration);
      std::unique_ptr<H> handler;
      if constexpr (std::is_constructible_v<H, const HandlerOptions&>) {
        handler = std::make_unique<H>(options);
      } else {
        handler = std::make_unique<H>();
      }
      options.refuse_unknown();
      *instance = handler.release();
      return 0;
    } catch (const std::exception& failure) {
      explain(failure.what(), error, error_size);
    } catch (...) {
      explain("an exception of unknown type", error, error_size);
    }
    return 1;
  }

  static int handle(void* instance, pool_server_task* task) noexcept {
    try {
      const std::string_view request(task->request, task->request_size);
      const Reply reply = call(*static_cast<H*>(instance), request, Stop(*task), Log(*task));
      task->append(task, reply.text().data(), reply.text().size());
      return reply.is_error() ? POOL_SERVER_ERROR : POOL_SERVER_RESULT;
    } catch (const std::exception& failure) {
      task->log(task, POOL_SERVER_LOG_FAILURE, failure.what(), std::strlen(failure.what()));
    } catch (...) {
      constexpr std::string_view kUnknown = "an exception of unknown type";
      task->log(task, POOL_SERVER_LOG_FAILURE, kUnknown.data(), kUnknown.size());
    }
    return POOL_SERVER_FAILED;
  }

  static void destroy(void* instance) noexcept { delete static_cast<H*>(instance); }

 private:
  static Reply call(H& handler, std::string_view request, const Stop& stop, const Log& log) {
    if constexpr (requires { handler.handle(request, stop, log); }) {
      return handler.handle(request, stop, log);
    } else {
      return handler.handle(request, stop);
    }
  }

  static void explain(const char* reason, char* error, std::size_t error_size) noexcept {
    if (error_size == 0) return;
    const std::size_t length = std::min(std::strlen(reason), error_size - 1);
    std::memcpy(error, reason, length);
    error[length] = '\0';
  }
};

template <class H>
constexpr pool_server_handler describe(std::uint32_t flags) {
  return {POOL_SERVER_HANDLER_ABI, flags, Adapter<H>::create, Adapter<H>::handle,
          Adapter<H>::destroy};
}

}  // namespace detail
}  // namespace pool_server

// Exports a class with
//   Reply handle(std::string_view request, const Stop& stop)
// or, to tell something in the log,
//   Reply handle(std::string_view request, const Stop& stop, const Log& log)
// that is made from `const HandlerOptions&`, or from nothing where it has no options. What its
// constructor throws keeps the server from starting; what handle() throws is "ERROR: internal
// error" for the client, and told in the log.
//
// POOL_SERVER_HANDLER: an instance for each worker, which needs no locks.
#define POOL_SERVER_HANDLER(...)                              \
  constexpr ::pool_server_handler pool_server_handler_entry = \
      ::pool_server::detail::describe<__VA_ARGS__>(0);

// POOL_SERVER_SHARED_HANDLER: one for all, whose handle() is called by all workers at once.
#define POOL_SERVER_SHARED_HANDLER(...)                       \
  constexpr ::pool_server_handler pool_server_handler_entry = \
      ::pool_server::detail::describe<__VA_ARGS__>(POOL_SERVER_SHARED);

// Exports a function, or a lambda that captures nothing, of the same form as handle().
#define POOL_SERVER_HANDLER_FUNCTION(...)                    \
  namespace {                                                \
  constexpr auto pool_server_handler_function = __VA_ARGS__; \
  }                                                          \
  POOL_SERVER_SHARED_HANDLER(::pool_server::detail::FunctionHandler<pool_server_handler_function>)

#endif
