#include "children/nursery_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "children/execute.h"
#include "children/forked.h"
#include "children/isolated_process.h"
#include "children/keeper_process.h"
#include "children/messages.h"
#include "children/output_lines.h"
#include "core/handler.h"
#include "sys/clock.h"
#include "sys/packet.h"
#include "sys/patient_poll.h"
#include "sys/signal_fd.h"

namespace pool_server {

namespace {

constexpr std::size_t kReadSize = kMostSpawnBytes;
// Of what a child that has ended may have left in its standard error: a pipe that was enlarged.
constexpr int kMostLastReads = 16;
constexpr int kOutOfMemory = 1;
constexpr unsigned kRoundPause = 10'000;  // µs
constexpr int kMostFailedRounds = 100;

struct Ward {
  pid_t pid = -1;
  SpawnKind kind = SpawnKind::kProgram;
  std::string label;
  UniqueFd lifeline;  // invalid: its worker has let it go
  UniqueFd error;     // invalid: it has closed it
  TimeUs grace = 0;
  TimeUs kill_at = kNever;
  OutputLines lines;
};

class NurseryProcess {
 public:
  // `module`: what its children run; null: it has none, and they are programs and keepers.
  NurseryProcess(int control, int news, HandlerModule* module)
      : control_(control),
        news_(news),
        module_(module),
        signals_({SIGCHLD, stop_signal()}),
        buffer_(kReadSize) {
    // Ignored, as who started the server or a handler may have left it, children would vanish
    // without a word.
    (void)::signal(SIGCHLD, SIG_DFL);
  }

  // Without memory a round is broken off, and the next one finds what it has not done. Where that
  // goes on, who asked would wait in vain.
  void run() {
    int failed = 0;  // rounds in a row
    while (!closing_ || !wards_.empty()) {
      try {
        run_round();
        failed = 0;
      } catch (const std::bad_alloc&) {
        if (++failed == kMostFailedRounds) throw;
        ::usleep(kRoundPause);
      }
    }
  }

 private:
  void run_round() {
    wait();
    const TimeUs now = monotonic_now();
    for (std::size_t i = 0; i < wards_.size(); ++i) {
      look_after(*wards_[i], polled_[kOwnPolled + 2 * i], polled_[kOwnPolled + 2 * i + 1], now);
    }
    reap(now);
    take_orders();
  }

  void wait() {
    polled_.clear();
    polled_.push_back({signals_.fd(), POLLIN, 0});
    polled_.push_back({closing_ ? -1 : control_, POLLIN, 0});
    TimeUs until = kNever;
    for (const auto& ward : wards_) {
      polled_.push_back({ward->lifeline.get(), POLLIN, 0});
      polled_.push_back({ward->error.get(), POLLIN, 0});
      until = std::min({until, ward->kill_at, ward->lines.left_out_due()});
    }
    int timeout = -1;
    if (until != kNever) {
      const TimeUs left = std::max<TimeUs>(until - monotonic_now(), 0);
      timeout = static_cast<int>(std::min<TimeUs>(left / 1000 + 1, INT_MAX));
    }
    (void)patient_poll(polled_, timeout);
    while (const auto signal = signals_.next()) {
      if (signal->number == stop_signal()) close();
    }
  }

  void close() {
    if (std::exchange(closing_, true)) return;
    const TimeUs now = monotonic_now();
    for (const auto& ward : wards_) {
      take_order_of(*ward, now);
      // One that was let go knows it from the end of its input, and has its grace.
      if (ward->lifeline.valid() || ward->kind != SpawnKind::kProgram) terminate(*ward, now);
    }
  }

  // Whatever of a child's group is left goes with it. Until it has been waited for, no other
  // process can have its number, nor another group the group's.
  void reap(TimeUs now) {
    for (;;) {
      siginfo_t ended{};
      if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0) return;
      (void)::kill(-ended.si_pid, SIGKILL);
      int status = 0;
      (void)::waitpid(ended.si_pid, &status, 0);
      const auto found =
          std::ranges::find(wards_, ended.si_pid, [](const auto& ward) { return ward->pid; });
      if (found == wards_.end()) continue;
      tell_end(**found, status, now);
      wards_.erase(found);
    }
  }

  // Its worker waits to hear of the end: where there is no memory, it does so without the words.
  void tell_end(Ward& ward, int status, TimeUs now) noexcept {
    std::string message;
    append_raw(message, Ended{status});  // so short that it takes none
    try {
      for (int i = 0; i < kMostLastReads && read_error(ward, now); ++i) {
      }
      ward.lines.finish(now, [&](std::string_view line) { tell_line(ward, line, now); });
      tell_left_out(ward, ward.lines.take_all_left_out(), now);
      message.append(ward.lines.last_words());
    } catch (const std::bad_alloc&) {
    }
    if (!ward.lifeline.valid()) return;
    (void)send_packet(ward.lifeline.get(), message);
    try {
      tell(News::kEnded, ward, {});
    } catch (const std::bad_alloc&) {
    }
  }

  void look_after(Ward& ward, const pollfd& lifeline, const pollfd& error, TimeUs now) {
    if (error.revents != 0) (void)read_error(ward, now);
    if (lifeline.revents != 0) take_order_of(ward, now);
    if (now >= ward.kill_at) {
      signal(ward, SIGKILL);
      ward.kill_at = kNever;
    }
    tell_left_out(ward, ward.lines.take_left_out(now), now);
  }

  // True: there was something, and there may be more.
  bool read_error(Ward& ward, TimeUs now) {
    if (!ward.error.valid()) return false;
    const ssize_t size = ::read(ward.error.get(), buffer_.data(), buffer_.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (size <= 0) {
      ward.error.reset();
      return false;
    }
    ward.lines.take({buffer_.data(), static_cast<std::size_t>(size)}, now,
                    [&](std::string_view line) { tell_line(ward, line, now); });
    return true;
  }

  void take_order_of(Ward& ward, TimeUs now) {
    while (ward.lifeline.valid()) {
      const Packet packet = receive_packet(ward.lifeline.get(), buffer_);
      if (packet.status == PacketStatus::kAgain) return;
      if (packet.status == PacketStatus::kEnd) {  // let go: its input has ended as well
        ward.lifeline.reset();
        ward.kill_at = std::min(ward.kill_at, now + ward.grace);
      } else if (packet.bytes.front() == static_cast<char>(Order::kTerminate)) {
        terminate(ward, now);
      } else {
        signal(ward, SIGKILL);
      }
    }
  }

  static void terminate(Ward& ward, TimeUs now) {
    signal(ward, ward.kind == SpawnKind::kProgram ? SIGTERM : stop_signal());
    if (ward.kind == SpawnKind::kKeeper) signal(ward, SIGCONT);  // it has children to end
    ward.kill_at = std::min(ward.kill_at, now + ward.grace);
  }

  // A child that was forked just now may not have made its group yet.
  static void signal(const Ward& ward, int number) {
    if (::kill(-ward.pid, number) != 0) (void)::kill(ward.pid, number);
  }

  void take_orders() {
    while (!closing_) {
      Packet packet = receive_packet(control_, buffer_);
      if (packet.status == PacketStatus::kAgain) return;
      if (packet.status == PacketStatus::kOk) {
        spawn(packet);
      } else {
        close();
      }
    }
  }

  void spawn(Packet& packet) {
    SpawnHeader header;
    std::string_view text = packet.bytes;
    // Fewer descriptors: there are too many in this process. Who asked finds that nothing came.
    if (!take_raw(text, header) ||
        packet.fds.size() != (header.kind == SpawnKind::kKeeper ? 3U : 4U)) {
      return;
    }
    auto ward = std::make_unique<Ward>();
    ward->kind = header.kind;
    ward->lifeline = std::move(packet.fds[0]);
    ward->grace = header.grace;
    ward->label = take_word(text);
    std::vector<std::string> words;
    for (std::uint32_t i = 0; i < header.words; ++i) words.push_back(take_word(text));
    const int report_to = packet.fds[1].get();
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return report(report_to, errno);
    ward->error = UniqueFd(ends[0]);
    const UniqueFd error(ends[1]);
    (void)::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    wards_.reserve(wards_.size() + 1);
    const pid_t self = ::getpid();
    ward->pid = ::fork();
    if (ward->pid < 0) return report(report_to, errno);
    if (ward->pid == 0) become(header, words, *ward, packet.fds, error.get(), self);
    std::string message;
    append_raw(message, Started{ward->pid});
    // Who does not hear of it is not to wait: it is let go again.
    if (!send_packet(ward->lifeline.get(), message)) {
      ward->lifeline.reset();
      ward->kill_at = monotonic_now() + ward->grace;
    }
    wards_.push_back(std::move(ward));
  }

  // In the forked process. `fds`: as they came.
  [[noreturn]] void become(const SpawnHeader& header, const std::vector<std::string>& words,
                           Ward& ward, const std::vector<UniqueFd>& fds, int error, pid_t parent) {
    const int start = fds[1].get();
    try {
      switch (header.kind) {
        case SpawnKind::kProgram:
          report(start, execute({.words = words,
                                 .input = fds[2].get(),
                                 .output = fds[3].get(),
                                 .error = error,
                                 .protocol = header.frames != 0 ? "frames" : "lines",
                                 .address_space = header.address_space},
                                parent));
          break;
        case SpawnKind::kKeeper:
          run_keeper(words, header.max_reply, {fds[2].get(), news_, start}, error, parent);
        case SpawnKind::kHandler:
          close_own(ward);
          run_isolated(*module_,
                       {.requests = fds[2].get(),
                        .claims = fds[3].get(),
                        .report = start,
                        .error = error,
                        .address_space = header.address_space,
                        .label = ward.label},
                       parent);
      }
    } catch (const std::exception&) {
      report(start, ENOMEM);
    }
    ::_exit(127);
  }

  // What the process of a handler is not to have of this one. What the handler has opened stays.
  void close_own(Ward& ward) {
    for (const int fd : {control_, news_, signals_.fd()}) ::close(fd);
    ward.lifeline.reset();
    ward.error.reset();
    for (const auto& other : wards_) {
      other->lifeline.reset();
      other->error.reset();
    }
  }

  static std::string take_word(std::string_view& text) {
    const std::string_view word = text.substr(0, text.find('\0'));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    return std::string(word);
  }

  static void report(int start, int error) {
    report_start(start, StartReport::Kind::kError, error);
  }

  void tell_line(Ward& ward, std::string_view line, TimeUs now) {
    if (!tell(News::kLine, ward, line)) ward.lines.leave_out(1, now);
  }

  void tell_left_out(Ward& ward, std::uint64_t count, TimeUs now) {
    if (count > 0 && !tell(News::kLeftOut, ward, {}, count)) ward.lines.leave_out(count, now);
  }

  // False: the loop does not come to read.
  bool tell(News kind, const Ward& ward, std::string_view text, std::uint64_t count = 0) {
    std::string message;
    append_raw(message, NewsHeader{kind, ward.pid, count});
    return send_packet(news_, message.append(ward.label).append(1, '\0').append(text));
  }

  static constexpr std::size_t kOwnPolled = 2;  // before those of the wards

  const int control_;
  const int news_;
  HandlerModule* const module_;
  SignalFd signals_;
  std::vector<char> buffer_;
  std::vector<std::unique_ptr<Ward>> wards_;
  std::vector<pollfd> polled_;
  bool closing_ = false;
};

// The daemon's environment is its own: what a child might take for its own is left out.
void clean_environment() {
  for (const char* name :
       {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
        "LISTEN_FDNAMES", "FDSTORE", "MAINPID", "JOURNAL_STREAM"}) {
    ::unsetenv(name);
  }
}

}  // namespace

void look_after_children(HandlerModule* module) {
  try {
    NurseryProcess(kFirstGiven, kFirstGiven + 1, module).run();
  } catch (const std::exception&) {
    ::_exit(kOutOfMemory);  // its children die with it, and the daemon is started anew
  }
}

void run_nursery(UniqueFd control, UniqueFd news, int parent) {
  try {
    // The end of `control` tells of the daemon's end; SIGCONT lets it be heard even if somebody has
    // stopped this process.
    settle_in("pool-nursery", parent, SIGCONT);
    // Nothing of the daemon's stays open: neither its sockets nor the journal.
    const std::array kept{control.release(), news.release()};
    if (!keep_only(kept, -1)) ::_exit(1);
    clean_environment();
    raise_descriptor_limit_here();
  } catch (const std::exception&) {
    ::_exit(kOutOfMemory);  // what is above, is the daemon's: it would say that it cannot start
  }
  look_after_children(nullptr);
  ::_exit(0);
}

}  // namespace pool_server
