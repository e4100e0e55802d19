#include "children/isolated_process.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "children/claims.h"
#include "children/forked.h"
#include "children/messages.h"
#include "core/protocol.h"
#include "core/wipe.h"
#include "sys/clock.h"
#include "sys/crash_report.h"

namespace pool_server {

namespace {

int requests = -1;        // see messages.h
constexpr int kGone = 1;  // exit status: nobody is there to work for

volatile std::sig_atomic_t told_to_stop = 0;

void on_stop(int) {
  told_to_stop = 1;
}

class Told final : public StopToken {
 public:
  bool stop_requested() const override { return told_to_stop != 0; }
};

void set_up_signals() {
  struct sigaction action {};
  action.sa_handler = on_stop;  // without SA_RESTART: it ends a wait for the next request
  (void)::sigaction(stop_signal(), &action, nullptr);
  (void)::signal(SIGCHLD, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void send_piece(TaskHeader header, std::string_view piece) {
  const std::array<iovec, 2> parts{
      {{&header, sizeof header}, {const_cast<char*>(piece.data()), piece.size()}}};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  while (::sendmsg(requests, &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) ::_exit(kGone);
  }
}

void send_text(TaskHeader header, std::string_view text) {
  for (; text.size() > kMostTaskPiece; text.remove_prefix(kMostTaskPiece)) {
    send_piece({TaskHeader::Kind::kPiece, 0, header.generation, header.number},
               text.substr(0, kMostTaskPiece));
  }
  send_piece(header, text);
}

// Each line is sent at once, so that the worker has the last ones when the process dies.
class SentLog final : public TaskLog {
 public:
  void write(LogLevel level, std::string_view text) noexcept override {
    send_piece({TaskHeader::Kind::kLog, static_cast<std::uint32_t>(level), 0, 0},
               text.substr(0, kMostTaskPiece));
  }
  void failed(std::string_view reason) noexcept override {
    send_piece({TaskHeader::Kind::kFailed, 0, 0, 0}, reason.substr(0, kMostTaskPiece));
  }
  void crashed(std::string_view, std::string_view) noexcept override {}
};

class IsolatedProcess {
 public:
  IsolatedProcess(Handler& handler, Claims& claims)
      : handler_(handler), claims_(claims), buffer_(kMostTaskBytes) {
    handler_.use_log(log_);
  }

  void run() {
    while (told_to_stop == 0 && receive()) {
      work();
      forget(request_);
      forget(reply_);
    }
  }

 private:
  // What was large once is not kept for ever.
  static void forget(std::string& text) {
    constexpr std::size_t kMostKept = 1 << 20;
    wipe(text);
    text.clear();
    if (text.capacity() > kMostKept) text.shrink_to_fit();
  }

  // A request that is this process' to do. False: there is no more.
  bool receive() {
    for (;;) {
      const ssize_t size = ::recv(requests, buffer_.data(), buffer_.size(), 0);
      if (size < 0 && errno == EINTR && told_to_stop == 0) continue;
      if (size <= 0) return false;
      const std::span<char> received = std::span(buffer_).first(static_cast<std::size_t>(size));
      std::string_view text(received.data(), received.size());
      TaskHeader header;
      if (!take_raw(text, header)) return false;
      // The rest of one that was taken back never comes.
      if (header.generation != header_.generation || header.number != header_.number) {
        forget(request_);
        has_room_ = true;
      }
      header_ = header;
      take(text);
      wipe(received);
      if (header.kind != TaskHeader::Kind::kWhole) continue;
      if (claims_.claim(header.generation, header.number)) {
        if (has_room_) return true;
        send_text({TaskHeader::Kind::kThrown, 0, header.generation, header.number},
                  "there is no memory for the request");
      }
      forget(request_);
    }
  }

  // What there is no memory for is answered once it is whole.
  void take(std::string_view piece) {
    if (!has_room_) return;
    try {
      request_.append(piece);
    } catch (const std::bad_alloc&) {
      forget(request_);
      has_room_ = false;
    }
  }

  void work() {
    const TimeUs begin = monotonic_now();
    TaskHeader header{TaskHeader::Kind::kThrown, 0, header_.generation, header_.number};
    try {
      const Outcome outcome = handler_.handle(request_, stop_, reply_);
      header.kind = outcome == Outcome::kOk ? TaskHeader::Kind::kWhole : TaskHeader::Kind::kError;
    } catch (const std::exception& error) {
      return send_text(header, error.what());
    } catch (...) {
      return send_text(header, "an exception of unknown type");
    }
    // At least 1, as 0 says nothing.
    header.detail = static_cast<std::uint32_t>(
        std::clamp<TimeUs>(monotonic_now() - begin, 1, std::numeric_limits<std::uint32_t>::max()));
    send_text(header, reply_);
  }

  Handler& handler_;
  Claims& claims_;
  TaskHeader header_;  // of the request
  SentLog log_;
  Told stop_;
  std::vector<char> buffer_;
  std::string request_;
  bool has_room_ = true;  // for all of it
  std::string reply_;
};

}  // namespace

void run_isolated(HandlerModule& module, const IsolatedStart& start, pid_t parent) {
  settle_in("pool-" + start.label, parent, SIGKILL);
  if (::dup2(start.error, STDERR_FILENO) < 0) ::_exit(kGone);
  ::close(start.error);
  requests = start.requests;
  set_up_signals();
  restore_descriptor_limit();
  bool runs = false;
  try {
    Claims claims(start.claims);
    ::close(start.claims);
    if (start.address_space > 0) {
      const rlimit limit{start.address_space, start.address_space};
      (void)::setrlimit(RLIMIT_AS, &limit);
    }
    crash_report::ExitWatch::let_pass();
    const std::unique_ptr<Handler> handler = module.make();
    crash_report::ExitWatch::come_first();
    IsolatedProcess process(*handler, claims);
    report_start(start.report, StartReport::Kind::kRuns, 0);
    ::close(start.report);
    runs = true;
    process.run();
  } catch (const std::exception& fault) {
    if (runs) ::_exit(kGone);
    report_start(start.report, StartReport::Kind::kRefused, 0, fault.what());
    ::_exit(kGone);
  }
  ::_exit(0);
}

}  // namespace pool_server
