// Does on request what handlers should not, and tells what becomes of its instances. With SHARED
// defined, it has one instance for all workers.
//
//   options    journal=FILE  a line "create" or "destroy" there for each instance
//              prefix=TEXT   before what echo answers
//              broken=yes    does not start
//   requests   echo TEXT, error TEXT, control, long N, throw, instance MS, wait, segv, abort, stack

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
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
    note("create");
  }
  Unruly(const Unruly&) = delete;
  Unruly& operator=(const Unruly&) = delete;
  ~Unruly() { note("destroy"); }

  Reply handle(std::string_view request, const pool_server::Stop& stop) {
    const std::string_view verb = request.substr(0, request.find(' '));
    const std::string argument(request.substr(std::min(verb.size() + 1, request.size())));
    if (verb == "echo") return prefix_ + argument;
    if (verb == "error") return Reply::error(argument);
    if (verb == "control") return "two\nlines";
    if (verb == "long") return std::string(std::stoul(argument), 'x');
    if (verb == "throw") throw std::runtime_error("not for clients");
    if (verb == "instance") {
      std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(argument)));
      return std::to_string(number_);
    }
    if (verb == "wait") {
      while (!stop.requested()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return Reply::error("stopped");
    }
    if (verb == "segv") *static_cast<volatile int*>(nullptr) = 1;
    if (verb == "abort") std::abort();
    if (verb == "stack") return std::to_string(use_up_the_stack(0));
    return Reply::error("invalid input");
  }

 private:
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
