#include "server/failed_starts.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "server/log.h"
#include "sys/clock.h"
#include "sys/memfd.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

constexpr unsigned kTimeToStart = 60;  // s
constexpr unsigned kMost = 100;        // what is counted; the pause grows no more long before

std::optional<unsigned> read_count(int fd) {
  try {
    std::array<char, 1> byte{};
    read_at(fd, 0, byte);
    return std::min<unsigned>(static_cast<unsigned char>(byte[0]), kMost);
  } catch (const std::system_error&) {
    return std::nullopt;
  }
}

}  // namespace

FailedStarts::FailedStarts(std::vector<service_manager::PassedFd>& passed) {
  if (!service_manager::is_listening()) return;
  const auto is_ours = [](const service_manager::PassedFd& each) {
    return each.name == kName && !service_manager::is_stream_listener(each.fd.get());
  };
  const auto ours = std::ranges::find_if(passed, is_ours);
  if (ours != passed.end()) {
    UniqueFd fd = std::move(ours->fd);
    passed.erase(ours);
    const auto count = read_count(fd.get());
    if (count) {
      failed_ = *count;
      count_ = std::move(fd);
    } else {
      service_manager::remove_stored_fds(kName);
    }
  }
  if (!count_.valid()) {
    try {
      count_ = make_memfd(kName);
    } catch (const std::system_error&) {
      return;
    }
    set(1);
    service_manager::send_fd_to_store(count_.get(), kName);
    return;
  }
  set(failed_ + 1);
}

unsigned FailedStarts::pause_after(unsigned failed) {
  // The first is tried again at once: a crash is rarely followed by another.
  constexpr std::array<unsigned, 6> kPauses = {0, 0, 2, 5, 10, 20};
  constexpr unsigned kLongest = 30;
  return failed < kPauses.size() ? kPauses[failed] : kLongest;
}

FailedStarts::Wait FailedStarts::wait(SignalFd& signals) {
  const unsigned pause = pause_after(failed_);
  if (pause == 0) return Wait::kNone;
  const std::string text = fmt::format(
      "{} starts failed; the next one is in {} s, or at once by a restart", failed_, pause);
  log::write(LogLevel::kWarning, "start-delayed", {}, text);
  // The pause is none of the time that a start may take.
  service_manager::notify("STATUS=" + text + "\nEXTEND_TIMEOUT_USEC=" +
                          std::to_string((pause + kTimeToStart) * 1'000'000ULL));
  const TimeUs until = monotonic_now() + TimeUs{pause} * 1'000'000;
  while (wait_for_input(signals.fd(), until)) {
    const auto signal = signals.next();
    if (!signal || (signal->number != SIGTERM && signal->number != SIGINT)) continue;
    set(0);
    return Wait::kStopped;
  }
  return Wait::kOver;
}

void FailedStarts::succeeded() {
  if (!count_.valid()) return;
  set(0);  // should the manager not hear the rest
  service_manager::remove_stored_fds(kName);
  count_.reset();
}

void FailedStarts::set(unsigned failed) {
  if (!count_.valid()) return;
  const char byte = static_cast<char>(std::min(failed, kMost));
  (void)write_at(count_.get(), 0, std::string_view(&byte, 1));  // it fails: nothing is paced
}

}  // namespace pool_server
