#include "children/child.h"

#include <sys/wait.h>

#include <array>
#include <cstring>

#include "children/messages.h"
#include "sys/clock.h"
#include "sys/packet.h"

namespace pool_server {

std::string ChildEnd::how() const {
  if (nursery_gone) return "its supervisor has gone";
  if (!WIFSIGNALED(wait_status)) {
    return "exit status " + std::to_string(WEXITSTATUS(wait_status));
  }
  const int number = WTERMSIG(wait_status);
  const char* const name = ::sigabbrev_np(number);
  return name == nullptr ? "signal " + std::to_string(number) : std::string("SIG") + name;
}

std::optional<ChildEnd> Child::end() {
  std::array<char, 2048> buffer;
  const Packet packet = receive_packet(lifeline_.get(), buffer);
  if (packet.status == PacketStatus::kAgain) return std::nullopt;
  ChildEnd end;
  Ended ended;
  std::string_view text = packet.bytes;
  if (packet.status == PacketStatus::kOk && take_raw(text, ended)) {
    end.wait_status = ended.wait_status;
    end.last_words = text;
  } else {
    end.nursery_gone = true;
  }
  return end;
}

void Child::terminate() noexcept {
  const char order = static_cast<char>(Order::kTerminate);
  (void)send_packet(lifeline_.get(), {&order, 1});
}

void Child::kill() noexcept {
  const char order = static_cast<char>(Order::kKill);
  (void)send_packet(lifeline_.get(), {&order, 1});
}

std::optional<ChildEnd> Child::wait(TimeUs patience) {
  const TimeUs until = monotonic_now() + patience;
  for (TimeUs left = patience; left > 0; left = until - monotonic_now()) {
    if (!wait_readable(lifeline_.get(), static_cast<int>(left / 1000 + 1))) continue;
    if (auto ended = end()) return ended;
  }
  return std::nullopt;
}

}  // namespace pool_server
