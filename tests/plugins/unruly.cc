// Does on request what handlers should not, and tells what becomes of its instances. With SHARED
// defined, it has one instance for all workers.
//
//   options    journal=FILE  a line "create" or "destroy" there for each instance
//              prefix=TEXT   before what echo answers
//              broken=yes    does not start
//              exit=yes      ends the process instead
//              until=FILE    waits until it is there
//              threads=yes   starts one
//   requests   echo TEXT, error TEXT, control, long N, throw [TEXT], throw-int, instance MS, wait,
//              segv [TEXT], abort, stack, exit N, quick-exit,
//              log LEVEL TEXT, log-much N, pid, leak MIB, say TEXT (to standard error), hang MS

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <new>
#include <pool-server/handler.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace {

using pool_server::Reply;

std::atomic<int> instances{0};

[[gnu::noinline]] int use_up_the_stack(int depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : use_up_the_stack(depth + 1) + frame[0];
}

class Unruly {
 public:
  explicit Unruly(const pool_server::HandlerOptions& options)
      : journal_(options.get("journal")), prefix_(options.get("prefix")), number_(instances++) {
    if (options.get("broken") == "yes") throw std::runtime_error("broken, as asked");
    if (options.get("exit") == "yes") std::exit(0);
    const std::string awaited(options.get("until"));
    while (!awaited.empty() && ::access(awaited.c_str(), F_OK) != 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (options.get("threads") == "yes") {
      std::thread([] { std::this_thread::sleep_for(std::chrono::hours(1)); }).detach();
    }
    note("create");
  }
  Unruly(const Unruly&) = delete;
  Unruly& operator=(const Unruly&) = delete;
  ~Unruly() { note("destroy"); }

  Reply handle(std::string_view request, const pool_server::Stop& stop,
               const pool_server::Log& log) {
    const std::string_view verb = request.substr(0, request.find(' '));
    const std::string argument(request.substr(std::min(verb.size() + 1, request.size())));
    if (verb == "echo") return prefix_ + argument;
    if (verb == "error") return Reply::error(argument);
    if (verb == "control") return "two\nlines";
    if (verb == "long") return std::string(std::stoul(argument), 'x');
    if (verb == "throw") {
      throw std::runtime_error("not for clients" + (argument.empty() ? "" : ": " + argument));
    }
    if (verb == "throw-int") throw 7;
    if (verb == "exit") std::exit(std::stoi(argument));
    if (verb == "quick-exit") std::quick_exit(0);
    if (verb == "log") return write(log, argument);
    if (verb == "log-much") {
      for (int i = std::stoi(argument); i > 0; --i) log.info(std::string(100, 'x'));
      return "logged";
    }
    if (verb == "instance") {
      std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(argument)));
      return std::to_string(number_);
    }
    if (verb == "wait") {
      while (!stop.requested()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return Reply::error("stopped");
    }
    if (verb == "segv") {
      if (!argument.empty()) log.warning(argument);
      *static_cast<volatile int*>(nullptr) = 1;
    }
    if (verb == "abort") std::abort();
    if (verb == "pid") return std::to_string(::getpid());
    if (verb == "say") {
      std::cerr << argument << std::endl;
      return "said";
    }
    if (verb == "leak") {
      const std::size_t size = std::stoul(argument) << 20;
      std::memset(::operator new(size), 1, size);
      return "leaked";
    }
    if (verb == "hang") {
      std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(argument)));
      return "hung";
    }
    if (verb == "stack") return std::to_string(use_up_the_stack(0));
    return Reply::error("invalid input");
  }

 private:
  static Reply write(const pool_server::Log& log, const std::string& what) {
    const std::string level = what.substr(0, what.find(' '));
    const std::string text = what.substr(std::min(level.size() + 1, what.size()));
    if (level == "error") log.error(text);
    if (level == "warning") log.warning(text);
    if (level == "info") log.info(text);
    if (level == "debug") log.debug(text);
    return "logged";
  }

  void note(const char* what) const {
    if (!journal_.empty()) std::ofstream(journal_, std::ios::app) << what << '\n';
  }

  const std::string journal_;
  const std::string prefix_;
  const int number_;
};

}  // namespace

#ifdef SHARED
POOL_SERVER_SHARED_HANDLER(Unruly)
#else
POOL_SERVER_HANDLER(Unruly)
#endif
