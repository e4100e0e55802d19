#include "handlers/drill.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <thread>

#include "core/protocol.h"

namespace pool_server {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::optional<milliseconds> parse_ms(std::string_view text) {
  unsigned value = 0;  // 49 days at most
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return milliseconds(value);
}

// Runs `step` until the time is over; false when stopped early.
template <class Step>
bool run_for(milliseconds duration, const StopToken& stop, Step step) {
  const auto end = Clock::now() + duration;
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    if (stop.stop_requested()) return false;
    step(std::chrono::duration_cast<std::chrono::microseconds>(end - now));
  }
  return true;
}

class Drill final : public Handler {
 public:
  Outcome handle(std::string_view request, const StopToken& stop, std::string& reply) override {
    const std::size_t space = request.find(' ');
    const std::string_view verb = request.substr(0, space);
    const std::string_view argument =
        space == std::string_view::npos ? std::string_view() : request.substr(space + 1);

    if (verb == "echo") {
      reply = argument;
      return Outcome::kOk;
    }
    if (verb == "hang") return hang(argument, reply);
    if (verb == "sleep" || verb == "spin") return pass_time(verb == "sleep", argument, stop, reply);
    if (request == "throw") throw std::runtime_error("thrown as asked");
    reply = request == "fail" ? std::string_view("task failed") : protocol::kInvalidInput;
    return Outcome::kError;
  }

 private:
  static Outcome hang(std::string_view argument, std::string& reply) {
    const auto duration = parse_ms(argument);
    if (!duration) {
      reply = protocol::kInvalidInput;
      return Outcome::kError;
    }
    std::this_thread::sleep_for(*duration);
    reply.append("hung ").append(argument).append(" ms");
    return Outcome::kOk;
  }

  static Outcome pass_time(bool sleeping, std::string_view argument, const StopToken& stop,
                           std::string& reply) {
    const auto duration = parse_ms(argument);
    if (!duration) {
      reply = protocol::kInvalidInput;
      return Outcome::kError;
    }
    // How soon a stop is noticed.
    constexpr auto kSlice = std::chrono::microseconds(2000);
    const bool whole = run_for(*duration, stop, [&](std::chrono::microseconds left) {
      if (sleeping) {
        std::this_thread::sleep_for(std::min(left, kSlice));
      } else {
        const auto end = Clock::now() + std::min(left, kSlice / 10);
        while (Clock::now() < end) {
        }
      }
    });
    if (!whole) {
      reply = "stopped";
      return Outcome::kError;
    }
    reply.append(sleeping ? "slept " : "spun ").append(argument).append(" ms");
    return Outcome::kOk;
  }
};

}  // namespace

std::size_t longest_drill_reply(std::size_t request_bytes) {
  return request_bytes + 32;  // the argument again, and at most two words more
}

std::unique_ptr<Handler> make_drill_handler() {
  return std::make_unique<Drill>();
}

}  // namespace pool_server
