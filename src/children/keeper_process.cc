#include "children/keeper_process.h"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <memory>
#include <stdexcept>

#include "children/forked.h"
#include "children/messages.h"
#include "children/nursery_process.h"
#include "core/handler.h"
#include "core/options.h"
#include "handlers/registry.h"

namespace pool_server {

namespace {

constexpr int kReport = kFirstGiven + 2;

// Of this process; 0: that cannot be told here. By the links of its directory, as the sandbox has
// no system call to list it.
std::size_t count_threads() {
  struct stat status {};
  constexpr std::size_t kOthers = 2;  // "." and ".."
  return ::stat("/proc/self/task", &status) == 0 && status.st_nlink > kOthers
             ? status.st_nlink - kOthers
             : 0;
}

std::unique_ptr<HandlerModule> load(const std::vector<std::string>& words, std::size_t max_reply) {
  Options options;
  options.handler = words.front();
  options.handler_options.assign(words.begin() + 1, words.end());
  options.max_reply = max_reply;
  const std::size_t threads = count_threads();
  auto module = load_handler(options);
  if (count_threads() > threads) {
    throw std::runtime_error("handler '" + options.handler +
                             "' has started threads, which are not in its workers' processes: it "
                             "takes isolate=no");
  }
  return module;
}

}  // namespace

void run_keeper(const std::vector<std::string>& words, std::size_t max_reply,
                const std::array<int, 3>& kept, int error, pid_t parent) {
  settle_in("pool-keeper", parent, SIGKILL);
  if (!keep_only(kept, error)) ::_exit(1);
  std::unique_ptr<HandlerModule> module;
  try {
    module = load(words, max_reply);
  } catch (const ConfigurationError& fault) {
    report_start(kReport, StartReport::Kind::kConfiguration, 0, fault.what());
    ::_exit(1);
  } catch (const std::exception& fault) {
    report_start(kReport, StartReport::Kind::kRefused, 0, fault.what());
    ::_exit(1);
  }
  report_start(kReport, StartReport::Kind::kRuns, 0);
  ::close(kReport);
  look_after_children(module.get());
  module.reset();
  ::_exit(0);
}

}  // namespace pool_server
