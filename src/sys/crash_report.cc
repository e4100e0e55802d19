#include "sys/crash_report.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "sys/journal.h"
#include "sys/log_fd.h"

namespace pool_server::crash_report {

namespace {

struct Fault {
  int signal;
  std::string_view name;
};
constexpr std::array kFaults = {
    Fault{SIGSEGV, "SIGSEGV"}, Fault{SIGBUS, "SIGBUS"},   Fault{SIGFPE, "SIGFPE"},
    Fault{SIGILL, "SIGILL"},   Fault{SIGABRT, "SIGABRT"},
};

// Enough for the message, also under Valgrind.
constexpr std::size_t kStackSize = 64 * 1024;

struct Doing {
  bool task = false;
  unsigned worker = 0;
  std::uint64_t number = 0;
  std::uint64_t connection = 0;
  std::size_t noted = 0;  // bytes
  std::array<char, 160> note{};
};
constinit thread_local Doing doing;

// Between the begin and the end of ExitWatch.
bool exits_are_watched = false;
bool exits_pass = false;

bool is_printable(char c) {
  return static_cast<unsigned char>(c) >= ' ' && c != 0x7f;
}

// Text put together without the heap, as a signal handler must; what does not fit is cut.
template <std::size_t capacity>
class Text {
 public:
  Text& operator<<(std::string_view more) {
    more = more.substr(0, capacity - size_);
    std::copy(more.begin(), more.end(), bytes_.begin() + size_);
    size_ += more.size();
    return *this;
  }
  Text& operator<<(std::uint64_t number) {
    std::array<char, 20> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    return *this << std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data()));
  }
  std::string_view view() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, capacity> bytes_{};
  std::size_t size_ = 0;
};

// Set once, before there are threads, and only read by the signal handler.
struct Setup {
  Text<200> handler;
  Text<32> message_id;
  bool to_journal = false;
};
Setup setup;

bool tell_journal(std::string_view message, const Doing& was, bool crashed = true) {
  if (!setup.to_journal) return false;
  Text<1400> entry;
  entry << "MESSAGE=" << message << "\nPRIORITY=2\nSYSLOG_IDENTIFIER=pool-server\n"
        << "POOL_SERVER_EVENT=" << (crashed ? "crashed" : "handler-exited")
        << "\nPOOL_SERVER_HANDLER=" << setup.handler.view() << "\n";
  if (crashed) entry << "MESSAGE_ID=" << setup.message_id.view() << "\n";
  if (was.task) {
    entry << "POOL_SERVER_WORKER=worker-" << was.worker << "\nPOOL_SERVER_TASK=" << was.number
          << "\nPOOL_SERVER_CONNECTION=" << was.connection << "\n";
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  Journal::kSocket.copy(address.sun_path, sizeof address.sun_path - 1);
  const auto* to = reinterpret_cast<const sockaddr*>(&address);
  const std::string_view bytes = entry.view();
  const int journal = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return ::sendto(journal, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT, to,
                  sizeof address) >= 0;
}

void tell_stderr(std::string_view message) {
  Text<800> line;
  line << "pool-server: " << message << "\n";
  // Opened anew as LogFd does it, not to write over what that has appended.
  const int reopened = open_stderr();
  pollfd writable{.fd = reopened >= 0 ? reopened : STDERR_FILENO, .events = POLLOUT, .revents = 0};
  // A pipe that has room for anything has room for a line.
  const timespec now{};
  if (::ppoll(&writable, 1, &now, nullptr) != 1 || (writable.revents & POLLOUT) == 0) return;
  const std::string_view bytes = line.view();
  [[maybe_unused]] const ssize_t ignored = ::write(writable.fd, bytes.data(), bytes.size());
}

template <std::size_t capacity>
void tell_where(Text<capacity>& message, const Doing& was) {
  if (!was.task) {
    message << "but in no task";
    return;
  }
  message << "on worker-" << was.worker << ", task " << was.number << " of connection "
          << was.connection;
  if (was.noted > 0) {
    message << ", having logged: " << std::string_view(was.note.data(), was.noted);
  }
}

// Async-signal-safe, all of it.
void on_fault(int signal, siginfo_t* info, void*) {
  const int saved_errno = errno;
  const Doing was = doing;
  Text<600> message;
  message << "crashed by ";
  for (const Fault& fault : kFaults) {
    if (fault.signal == signal) message << fault.name;
  }
  message << " in handler '" << setup.handler.view() << "' ";
  tell_where(message, was);
  // Sent from outside, what this thread was doing is nobody's fault.
  const bool from_outside = info->si_code <= 0 && info->si_pid != ::getpid();
  Text<120> sender;
  sender << "ended by " << std::ranges::find(kFaults, signal, &Fault::signal)->name
         << " of the watchdog or another process (" << static_cast<std::uint64_t>(info->si_pid)
         << ")";
  const std::string_view told = from_outside ? sender.view() : message.view();
  if (!tell_journal(told, from_outside ? Doing{} : was)) tell_stderr(told);
  errno = saved_errno;
  // The default action is back in force (SA_RESETHAND). A fault comes again when the instruction is
  // run again; what was sent, by another process or by abort(), has to be sent again.
  if (info->si_code <= 0) ::raise(signal);
}

void end_by_exit(std::string_view call) {
  if (!exits_are_watched) return;
  Text<600> message;
  const std::string_view handler = setup.handler.view();  // empty: nothing serves yet
  message << (handler.empty() ? "a handler" : "handler '") << handler
          << (handler.empty() ? "" : "'") << " ended the process by " << call << " ";
  tell_where(message, doing);
  if (!tell_journal(message.view(), doing, /*crashed=*/false)) tell_stderr(message.view());
  ::_exit(1);
}

void on_exit_call(int status, void*) {
  if (exits_pass) ::_exit(status);
  Text<32> call;
  call << "exit(" << static_cast<std::uint64_t>(status & 0xff) << ")";
  end_by_exit(call.view());
}

void on_quick_exit_call() {
  if (exits_pass) ::_exit(0);  // its status is not told here
  end_by_exit("quick_exit()");
}

}  // namespace

void install(std::string_view handler, std::string_view message_id) {
  for (const char c : handler) {
    setup.handler << std::string_view(is_printable(c) ? &c : "?", 1);
  }
  setup.message_id << message_id;
  setup.to_journal = stderr_is_journal();
  static const AlternateStack main_stack;
  for (const Fault& fault : kFaults) {
    struct sigaction action {};
    if (::sigaction(fault.signal, nullptr, &action) != 0 || action.sa_handler != SIG_DFL) continue;
    action.sa_sigaction = on_fault;
    action.sa_flags = static_cast<int>(SA_SIGINFO | SA_RESETHAND | SA_ONSTACK);
    ::sigaction(fault.signal, &action, nullptr);
  }
}

void begin_task(unsigned worker, std::uint64_t number, std::uint64_t connection) {
  doing.worker = worker;
  doing.number = number;
  doing.connection = connection;
  doing.noted = 0;
  doing.task = true;
}

void end_task() {
  doing.task = false;
}

void note(std::string_view text) {
  text = text.substr(0, doing.note.size());
  std::transform(text.begin(), text.end(), doing.note.begin(),
                 [](char c) { return is_printable(c) ? c : '?'; });
  doing.noted = text.size();
}

ExitWatch::ExitWatch() {
  exits_are_watched = true;
  come_first();
}

ExitWatch::~ExitWatch() {
  exits_are_watched = false;
}

void ExitWatch::come_first() {
  // No more than a warning is lost if there is no memory for it.
  (void)::on_exit(on_exit_call, nullptr);
  (void)::at_quick_exit(on_quick_exit_call);
}

void ExitWatch::let_pass() {
  exits_pass = true;
  come_first();
}

AlternateStack::AlternateStack() {
  stack_t current{};
  if (::sigaltstack(nullptr, &current) != 0 || (current.ss_flags & SS_DISABLE) == 0) return;
  const long least = ::sysconf(_SC_MINSIGSTKSZ);  // of this processor's registers
  size_ = kStackSize + static_cast<std::size_t>(std::max(least, 0L));
  void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return;
  const stack_t stack{.ss_sp = memory, .ss_flags = 0, .ss_size = size_};
  if (::sigaltstack(&stack, nullptr) != 0) {
    ::munmap(memory, size_);
    return;
  }
  memory_ = memory;
}

AlternateStack::~AlternateStack() {
  if (memory_ == nullptr) return;
  const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  ::sigaltstack(&none, nullptr);
  ::munmap(memory_, size_);
}

}  // namespace pool_server::crash_report
