#include "views/top.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>

#include "sys/signal_fd.h"
#include "views/check.h"
#include "views/dashboard.h"
#include "views/http_client.h"
#include "views/plain_text.h"
#include "views/screen.h"
#include "views/server_state.h"
#include "views/terminal.h"

namespace pool_server::views {

namespace {

using Clock = std::chrono::steady_clock;
using Time = HttpClient::Time;
constexpr Time kEvery{1000};
// What takes longer than that is told as a server that cannot be reached.
constexpr Time kPatience{3000};

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// Keeps a view up to date: asks for the state once in a while, then for what is new in the history.
class Watch {
 public:
  explicit Watch(const MonitorAddress& address) : client_(address) {
    view_.address = plain_text(address.text);
  }

  // The view as of now.
  View& view() {
    const Clock::time_point now = Clock::now();
    if (view_.state) view_.now = view_.state->now + seconds(now - state_came_);
    if (lost_) view_.lost_for = seconds(now - *lost_);
    return view_;
  }
  bool shows_state() const { return view_.state.has_value(); }
  HttpClient& client() { return client_; }
  Time until_next() const {
    if (client_.busy()) return kPatience;
    return std::max(Time{0}, std::chrono::ceil<Time>(next_ - Clock::now()));
  }

  // Goes on as far as it does without waiting. True: the view has changed.
  bool go_on() {
    if (!client_.busy() && Clock::now() >= next_) {
      next_ = Clock::now() + kEvery;
      asks_for_history_ = false;
      client_.start("/state.json", kPatience);
    }
    std::optional<HttpClient::Answer> answer = client_.take();
    if (!answer) return false;
    try {
      return take(*answer);
    } catch (const std::invalid_argument& fault) {
      return lose(fault.what());
    }
  }

 private:
  bool take(const HttpClient::Answer& answer) {
    if (!answer.fault.empty()) return lose(answer.fault);
    if (answer.status != 200) {
      return lose("it answers with status " + std::to_string(answer.status));
    }
    if (asks_for_history_) {
      view_.history.merge(parse_history(answer.body), view().now);
    } else {
      view_.state = parse_state(answer.body);
      state_came_ = Clock::now();
      const double now = view().now;
      if (view_.history.rows().empty() || now >= view_.history.next()) {
        asks_for_history_ = true;
        const double since = std::max(view_.history.last(), now - History::kSpan);
        client_.start("/history.json?since=" + std::to_string(static_cast<long long>(since)),
                      kPatience);
        return false;
      }
      view_.history.merge({}, now);
    }
    view_.fault.clear();
    lost_.reset();
    return true;
  }

  bool lose(const std::string& fault) {
    view_.fault = fault;
    if (!lost_) lost_ = Clock::now();
    return true;
  }

  HttpClient client_;
  View view_;
  bool asks_for_history_ = false;
  Clock::time_point next_ = Clock::now();
  Clock::time_point state_came_;
  std::optional<Clock::time_point> lost_;
};

int show_once(Watch& watch, bool utf8) {
  while (!watch.go_on()) watch.client().wait({}, watch.until_next());
  const View& view = watch.view();
  if (!view.fault.empty()) {
    std::cerr << "pool-server top: cannot reach " << view.address << ": " << view.fault << '\n';
    return kExitNoAnswer;
  }
  constexpr std::size_t kWide = 120;
  for (const Line& line : render(view, {kWide, kAnyHeight})) {
    std::cout << (utf8 ? line.text() : to_ascii(line.text())) << '\n';
  }
  std::cout << std::flush;
  if (std::cout) return 0;
  std::cerr << "pool-server top: cannot write to standard output\n";
  return EXIT_FAILURE;
}

// Nobody can press a key any more: the terminal has gone.
bool input_ended() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return ::poll(&input, 1, 0) > 0 && (input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

// Returns the signal that ended it, or 0.
int show_on(Screen& screen, SignalFd& signals, Watch& watch) {
  bool changed = true;
  while (true) {
    while (const std::optional<SignalFd::Signal> signal = signals.next()) {
      if (signal->number != SIGWINCH) return signal->number;
      screen.resize();
      changed = true;
    }
    for (Screen::Key key = screen.key(); key != Screen::Key::kNone; key = screen.key()) {
      if (key == Screen::Key::kQuit) return 0;
      if (key == Screen::Key::kWork) watch.view().sort = SortBy::kWork;
      if (key == Screen::Key::kRequests) watch.view().sort = SortBy::kRequests;
      if (key == Screen::Key::kInFlight) watch.view().sort = SortBy::kInFlight;
      if (key == Screen::Key::kRepaint) screen.forget();
      changed = true;
    }
    if (input_ended()) return SIGHUP;
    changed |= watch.go_on();
    if (changed) screen.show(render(watch.view(), screen.size()));
    changed = false;
    watch.client().wait({STDIN_FILENO, signals.fd()}, watch.until_next());
  }
}

}  // namespace

int top(const MonitorAddress& address) {
  const bool utf8 = speaks_utf8();
  Watch watch(address);
  if (!has_terminal()) return show_once(watch, utf8);
  // Before the terminal is taken over: none of them may end this process and leave it so.
  SignalFd signals({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH});
  int signal = 0;
  {
    Screen screen(utf8);
    signal = show_on(screen, signals, watch);
  }
  if (signal == 0) return 0;
  // As if it had not been caught: who waits for this process sees what ended it.
  (void)std::signal(signal, SIG_DFL);
  sigset_t blocked;
  (void)sigemptyset(&blocked);
  (void)sigaddset(&blocked, signal);
  (void)sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
  (void)std::raise(signal);
  return EXIT_FAILURE;
}

}  // namespace pool_server::views
