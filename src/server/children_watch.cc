#include "server/children_watch.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "core/command_words.h"
#include "core/protocol.h"
#include "server/log.h"
#include "sys/packet.h"

namespace pool_server {

namespace {

// Messages in one round; the rest comes in the next.
constexpr int kMostNews = 64;
constexpr std::size_t kLongestNews = 4096;
constexpr std::string_view kWorkerPrefix = "worker-";
// What comes behind it was said by a program.
constexpr std::string_view kQuote = ", having said: ";
constexpr TimeUs kRest = 100'000;
// So often workers that cannot keep a child alive are told to try, or to look whether it lives now.
constexpr TimeUs kLookAfterUnable = 1'000'000;

std::string name_of(const Options& options) {
  const std::string program =
      options.program.empty() ? options.handler : split_command(options.program).front();
  return program.substr(program.rfind('/') + 1);
}

std::optional<unsigned> worker_of(std::string_view label) {
  if (!label.starts_with(kWorkerPrefix)) return std::nullopt;
  label.remove_prefix(kWorkerPrefix.size());
  unsigned index = 0;
  const char* const end = label.data() + label.size();
  if (std::from_chars(label.data(), end, index).ec != std::errc()) return std::nullopt;
  return index;
}

}  // namespace

ChildrenWatch::ChildrenWatch(Nursery& nursery, ChildPool& children, const Options& options,
                             ThreadPool& pool, EventLoop& loop, Timers& timers,
                             std::function<void()> on_gone)
    : nursery_(nursery),
      children_(children),
      pool_(pool),
      loop_(loop),
      timers_(timers),
      on_gone_(std::move(on_gone)),
      name_(name_of(options)),
      handler_(options.handler),
      turn_([this](TimeUs now) { pass_turn(now); }),
      unable_([this](TimeUs now) { look_after_the_unable(now); }),
      listen_again_([this](TimeUs now) { listen_again(now); }) {
  timers_.reserve(3);
  loop_.add(nursery_.control(), EPOLLIN, *this);
  loop_.add(nursery_.news(), EPOLLIN, *this);
  if (children_.keeper() != nullptr) loop_.add(children_.keeper()->control(), EPOLLIN, *this);
  timers_.arm(turn_, kNever);
  timers_.arm(unable_, kNever);
  timers_.arm(listen_again_, kNever);
}

ChildrenWatch::~ChildrenWatch() {
  timers_.disarm(turn_);
  timers_.disarm(unable_);
  timers_.disarm(listen_again_);
  end_loading();
  loop_.remove(nursery_.news());
  if (gone_) return;
  loop_.remove(nursery_.control());
  if (children_.keeper() != nullptr) loop_.remove(children_.keeper()->control());
}

void ChildrenWatch::replace(const Options& options) {
  if (options.program.empty()) return begin_to_load(options);
  std::string name = name_of(options);
  children_.change(options, nullptr);
  name_.swap(name);
  pass_turn(loop_.now());
}

// A handler may take its time to load: another process does it, and tells.
void ChildrenWatch::begin_to_load(const Options& options) {
  if (gone_) return;
  Options wanted = options;
  if (loading_ != nullptr) {  // one at a time, as each may take as much memory as the handler
    load_next_ = std::move(wanted);
    load_again_ = true;
    return;
  }
  try {
    auto keeper = std::make_shared<Keeper>(nursery_, options);
    loop_.add(keeper->report(), EPOLLIN, *this);
    loading_ = std::move(keeper);
    loading_for_ = std::move(wanted);
    load_again_ = false;  // this is the latest
  } catch (const std::system_error& fault) {
    log::attempt([&] {
      log::write(LogLevel::kError, "reload-failed", {},
                 fmt::format("the handler is not loaded anew: {}", fault.what()));
    });
  }
}

// False: there is no memory for it now.
bool ChildrenWatch::load_what_waits() {
  if (!load_again_ || loading_ != nullptr) return true;
  try {
    begin_to_load(load_next_);
    load_again_ = false;
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void ChildrenWatch::end_loading() noexcept {
  if (loading_ == nullptr) return;
  loop_.remove(loading_->report());
  loading_.reset();
}

void ChildrenWatch::take_loaded() {
  if (loading_ == nullptr || !wait_readable(loading_->report(), 0)) return;
  const std::shared_ptr<Keeper> keeper = loading_;
  end_loading();
  try {
    keeper->finish();
    std::string name = name_of(loading_for_);
    std::string handler = loading_for_.handler;
    loop_.add(keeper->control(), EPOLLIN, *this);
    const std::shared_ptr<const Keeper> old = children_.keeper();
    try {
      children_.change(loading_for_, keeper);
    } catch (...) {
      loop_.remove(keeper->control());
      throw;
    }
    loop_.remove(old->control());
    name_.swap(name);
    handler_.swap(handler);
    log::attempt([this] {
      log::write(LogLevel::kInfo, "handler-loaded", {},
                 fmt::format("'{}' has been loaded anew; its processes are replaced one by one",
                             loading_for_.handler));
    });
  } catch (const std::exception& fault) {
    log::attempt([&] {
      constexpr std::string_view kWhat = "the handler stays as it was: ";
      log::write(LogLevel::kError, "reload-failed", {},
                 {fmt::format("{}{}", kWhat, fault.what()), kWhat.size()});
    });
  }
  pass_turn(loop_.now());
}

void ChildrenWatch::on_events(std::uint32_t) {
  take_news();
  if (gone_) return;
  take_loaded();
  if (!is_lost()) return;
  gone_ = true;
  end_loading();
  loop_.remove(nursery_.control());
  if (children_.keeper() != nullptr) loop_.remove(children_.keeper()->control());
  log::attempt([] {
    log::write(LogLevel::kError, "nursery-gone", {},
               "the process that holds the others has gone, and they with it: stopping, to be "
               "started anew");
  });
  on_gone_();
}

// Neither of them ever says anything.
bool ChildrenWatch::is_lost() const {
  return wait_readable(nursery_.control(), 0) ||
         (children_.keeper() != nullptr && wait_readable(children_.keeper()->control(), 0));
}

void ChildrenWatch::finish() {
  nursery_.end();
  while (read_news()) {
  }
}

// What cannot be read for want of memory is left for a while, or the loop would hear of it at once,
// again and again.
void ChildrenWatch::take_news() {
  try {
    read_news();
    return;
  } catch (const std::bad_alloc&) {
  }
  loop_.remove(nursery_.news());
  timers_.arm(listen_again_, loop_.now() + kRest);
}

void ChildrenWatch::listen_again(TimeUs now) {
  TimeUs again = kNever;
  try {
    loop_.add(nursery_.news(), EPOLLIN, *this);
  } catch (const std::exception&) {
    again = now + kRest;
  }
  timers_.arm(listen_again_, again);
}

// False: there is no more.
bool ChildrenWatch::read_news() {
  std::array<char, kLongestNews> buffer;
  for (int i = 0; i < kMostNews; ++i) {
    const Packet packet = receive_packet(nursery_.news(), buffer);
    if (packet.status != PacketStatus::kOk) return false;
    NewsHeader header;
    std::string_view rest = packet.bytes;
    if (!take_raw(rest, header)) continue;
    if (unable_.at() == kNever) timers_.arm(unable_, loop_.now() + kLookAfterUnable);
    const std::string_view label = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(label.size() + 1, rest.size()));
    log::attempt([&] {
      std::string text(rest);
      protocol::hide_control_bytes(text);
      take(header, label, text);
    });
  }
  return true;
}

void ChildrenWatch::take(const NewsHeader& header, std::string_view label, std::string& text) {
  const std::string worker(label);
  const std::string who = fmt::format("{}[{}]", name_, header.pid);
  // `own`: so much of it is no child's own words.
  const auto tell = [&](LogLevel level, log::Event event, std::string_view what,
                        std::size_t own = std::string_view::npos) {
    own = std::min({own, what.find(kQuote), what.size()});
    log::write_for_thread(worker, level, event, {{"POOL_SERVER_WORKER", worker}}, {what, own});
  };
  switch (header.kind) {
    case News::kLine:
      return tell(LogLevel::kInfo, "program-log", fmt::format("{}: {}", who, text));
    case News::kLeftOut:
      return tell(LogLevel::kWarning, "program-log-cut",
                  fmt::format("{}: {} lines more are left out", who, header.count));
    case News::kEnded:
      if (const auto index = worker_of(label)) pool_.nudge(*index);
      return;
    case News::kIdleEnd:
      return tell(LogLevel::kWarning, "worker-crashed",
                  fmt::format("{} has ended by itself: {}", who, text));
    case News::kOutOfStep:
      return tell(LogLevel::kWarning, "program-out-of-step",
                  fmt::format("{} is replaced: {}", who, text));
    case News::kNotStarted: {
      const std::string what = fmt::format("{} cannot be started: ", name_);
      return tell(LogLevel::kError, "program-not-started", what + text,
                  children_.keeper() != nullptr ? what.size() : std::string_view::npos);
    }
    case News::kReplaced:
      return tell(LogLevel::kDebug, "program-replaced", fmt::format("{}: {}", who, text));
  }
}

// Nobody sends them a request: balancers hear that the server is down.
void ChildrenWatch::look_after_the_unable(TimeUs now) {
  bool any = false;
  for (unsigned index = 0; index < pool_.size(); ++index) {
    if (!children_.roster().is_unable(index)) continue;
    any = true;
    pool_.nudge(index);
  }
  timers_.arm(unable_, any && !gone_ ? now + kLookAfterUnable : kNever);
}

void ChildrenWatch::pass_turn(TimeUs now) {
  const Roster::Turn turn = children_.roster().next_turn(now);
  if (turn.worker) pool_.nudge(*turn.worker);
  timers_.arm(turn_,
              load_what_waits() ? turn.look_again_at : std::min(turn.look_again_at, now + kRest));
}

}  // namespace pool_server
