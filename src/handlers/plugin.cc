#include "handlers/plugin.h"

#include <dlfcn.h>
#include <pool-server/handler.h>

#include <array>
#include <cstdint>
#include <new>
#include <stdexcept>
#include <utility>

#include "core/protocol.h"
#include "core/wipe.h"

namespace pool_server {

namespace {

constexpr const char* kEntry = "pool_server_handler_entry";
// Version 2 has a member more at the end of pool_server_task, which is ours to make.
constexpr std::uint32_t kOldestAbi = 1;

// A loaded shared object.
class Library {
 public:
  // All symbols are resolved now: one that is missing is not to be found out by a client.
  explicit Library(const std::string& path) : handle_(::dlopen(path.c_str(), RTLD_NOW)) {
    if (handle_ == nullptr) throw std::runtime_error(std::string("cannot be loaded: ") + dlerror());
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() { ::dlclose(handle_); }

  // Of a handler with a version of the interface that we have.
  const pool_server_handler& entry() const {
    const auto* entry = static_cast<const pool_server_handler*>(::dlsym(handle_, kEntry));
    if (entry == nullptr) {
      throw std::runtime_error(std::string("is no handler: it has no symbol ") + kEntry);
    }
    // Nothing else in it may be looked at before this.
    if (entry->abi < kOldestAbi || entry->abi > POOL_SERVER_HANDLER_ABI) {
      throw std::runtime_error("was built for version " + std::to_string(entry->abi) +
                               " of the handler interface, this server has versions " +
                               std::to_string(kOldestAbi) + " to " +
                               std::to_string(POOL_SERVER_HANDLER_ABI));
    }
    if ((entry->flags & ~POOL_SERVER_SHARED) != 0 || entry->handle == nullptr) {
      throw std::runtime_error(std::string("is no handler: its ") + kEntry + " makes no sense");
    }
    return *entry;
  }

 private:
  void* handle_;
};

class Instance {
 public:
  Instance(const pool_server_handler& entry, const std::string& configuration) : entry_(entry) {
    if (entry.create == nullptr) {
      if (!configuration.empty()) throw std::runtime_error("cannot start: it takes no options");
      return;
    }
    std::array<char, 256> error{};
    if (entry.create(configuration.c_str(), &instance_, error.data(), error.size()) != 0) {
      error.back() = '\0';
      throw std::runtime_error(std::string("cannot start: ") + error.data());
    }
  }
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;
  ~Instance() {
    if (entry_.create != nullptr && entry_.destroy != nullptr) entry_.destroy(instance_);
  }

  void* get() const { return instance_; }

 private:
  const pool_server_handler& entry_;
  void* instance_ = nullptr;
};

// One request on its way through the interface.
struct Call : pool_server_task {
  Call(std::string_view text, const StopToken& stop_token, std::string& to, std::size_t max,
       TaskLog* task_log)
      : pool_server_task{text.data(), text.size(), ask_to_stop, append_bytes, log_line},
        stop(stop_token),
        reply(to),
        max_reply(max),
        journal(task_log) {}

  const StopToken& stop;
  std::string& reply;
  const std::size_t max_reply;
  TaskLog* const journal;
  bool too_long = false;

 private:
  static int ask_to_stop(const pool_server_task* task) {
    return static_cast<const Call*>(task)->stop.stop_requested() ? 1 : 0;
  }

  static int append_bytes(pool_server_task* task, const char* bytes, std::size_t size) {
    auto& call = *static_cast<Call*>(task);
    call.too_long = call.too_long || size > call.max_reply - call.reply.size();
    if (call.too_long) return -1;
    try {
      call.reply.append(bytes, size);
    } catch (const std::bad_alloc&) {
      call.too_long = true;  // for this machine, now
    }
    return call.too_long ? -1 : 0;
  }

  static void log_line(pool_server_task* task, int level, const char* text, std::size_t size) {
    TaskLog* const log = static_cast<Call*>(task)->journal;
    if (log == nullptr) return;
    const std::string_view line(text, size);
    switch (level) {
      case POOL_SERVER_LOG_DEBUG:
        return log->write(LogLevel::kDebug, line);
      case POOL_SERVER_LOG_INFO:
        return log->write(LogLevel::kInfo, line);
      case POOL_SERVER_LOG_WARNING:
        return log->write(LogLevel::kWarning, line);
      case POOL_SERVER_LOG_FAILURE:
        return log->failed(line);
      default:
        return log->write(LogLevel::kError, line);
    }
  }
};

class PluginHandler final : public Handler {
 public:
  // `own` is the instance, unless all workers have the `shared` one.
  PluginHandler(const pool_server_handler& entry, std::unique_ptr<Instance> own, Instance* shared,
                std::size_t max_reply)
      : entry_(entry),
        own_(std::move(own)),
        instance_((own_ != nullptr ? own_.get() : shared)->get()),
        max_reply_(max_reply) {}

  void use_log(TaskLog& log) override { log_ = &log; }

  Outcome handle(std::string_view request, const StopToken& stop, std::string& reply) override {
    Call call(request, stop, reply, max_reply_, log_);
    const int outcome = entry_.handle(instance_, &call);
    if (call.too_long) return refuse(protocol::reply_too_long(max_reply_), reply);
    if (outcome != POOL_SERVER_RESULT && outcome != POOL_SERVER_ERROR) {
      if (log_ != nullptr) log_->failed("it gave no reason");  // counts only if that is so
      return refuse(protocol::kInternalError, reply);
    }
    if (protocol::has_control_bytes(reply)) return refuse(protocol::kBadReply, reply);
    return outcome == POOL_SERVER_RESULT ? Outcome::kOk : Outcome::kError;
  }

 private:
  static Outcome refuse(std::string_view reason, std::string& reply) {
    wipe(reply);
    reply = reason;
    return Outcome::kError;
  }

  const pool_server_handler& entry_;
  const std::unique_ptr<Instance> own_;
  void* const instance_;
  const std::size_t max_reply_;
  TaskLog* log_ = nullptr;
};

std::runtime_error blame(const std::string& path, const std::runtime_error& fault) {
  return std::runtime_error("handler '" + path + "' " + fault.what());
}

class Plugin final : public HandlerModule {
 public:
  Plugin(const std::string& path, std::string configuration, std::size_t max_reply)
      : path_(path),
        library_(path),
        entry_(library_.entry()),
        configuration_(std::move(configuration)),
        max_reply_(max_reply) {
    if ((entry_.flags & POOL_SERVER_SHARED) != 0) shared_ = start();
  }

  std::unique_ptr<Handler> make() override {
    try {
      std::unique_ptr<Instance> own;
      if (shared_ == nullptr) own = start();
      return std::make_unique<PluginHandler>(entry_, std::move(own), shared_.get(), max_reply_);
    } catch (const std::runtime_error& fault) {
      throw blame(path_, fault);
    }
  }

 private:
  std::unique_ptr<Instance> start() const {
    return std::make_unique<Instance>(entry_, configuration_);
  }

  const std::string path_;
  const Library library_;  // before what is of its code
  const pool_server_handler& entry_;
  const std::string configuration_;
  const std::size_t max_reply_;
  std::unique_ptr<Instance> shared_;
};

}  // namespace

std::unique_ptr<HandlerModule> load_plugin(const std::string& path,
                                           const std::string& configuration,
                                           std::size_t max_reply) {
  try {
    return std::make_unique<Plugin>(path, configuration, max_reply);
  } catch (const std::runtime_error& fault) {
    throw blame(path, fault);
  }
}

}  // namespace pool_server
