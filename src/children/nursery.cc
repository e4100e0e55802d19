#include "children/nursery.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include "children/nursery_process.h"
#include "sys/clock.h"
#include "sys/packet.h"

namespace pool_server {

namespace {

// µs, beyond which the nursery is killed, too: the longest --kill-grace, and time to do it in.
constexpr TimeUs kEndPatience = 65'000'000;
constexpr unsigned kEndPause = 1'000;  // µs

}  // namespace

Nursery::Nursery() {
  PacketPair control = PacketPair::make();
  PacketPair news = PacketPair::make();
  const pid_t self = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw_errno("fork");
  if (pid == 0) run_nursery(std::move(control.other), std::move(news.other), self);
  pid_ = pid;
  spawner_ = Spawner(std::move(control.one));
  news_ = std::move(news.one);
  news_in_ = std::move(news.other);
}

void Nursery::tell(News kind, std::string_view label, int pid, std::string_view text) noexcept {
  try {
    std::string message;
    append_raw(message, NewsHeader{kind, pid, 0});
    (void)send_packet(news_in_.get(), message.append(label).append(1, '\0').append(text));
  } catch (const std::exception&) {
    // There is no memory to say it.
  }
}

// Not closed: another thread may be about to use the descriptor, or have it be another one's.
void Nursery::end() noexcept {
  if (pid_ < 0) return;
  (void)::shutdown(control(), SHUT_RDWR);
  (void)::kill(pid_, SIGCONT);  // somebody may have stopped it
  const TimeUs kill_at = monotonic_now() + kEndPatience;
  while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
    const TimeUs now = monotonic_now();
    if (now > kill_at + kEndPatience) break;  // it is in the kernel, and stays there
    if (now > kill_at) (void)::kill(pid_, SIGKILL);
    ::usleep(kEndPause);
  }
  pid_ = -1;
}

}  // namespace pool_server
