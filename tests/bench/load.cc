#include "load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "sys/epoll.h"
#include "sys/socket.h"
#include "sys/unique_fd.h"

namespace pool_server::bench {

namespace {

constexpr int kPatience = 10'000;  // ms without any reply: the server hangs

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

UniqueFd connect_to(unsigned port) {
  UniqueFd fd = checked_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "cannot make a socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw_errno("cannot connect");
  }
  set_nonblocking(fd.get());
  set_no_delay(fd.get());
  return fd;
}

class Client {
 public:
  Client(unsigned port, unsigned pipeline, std::size_t first,
         const std::vector<Exchange>& exchanges)
      : exchanges_(exchanges),
        fd_(connect_to(port)),
        sent_at_(pipeline),
        next_request_(first),
        next_reply_(first) {}

  int fd() const { return fd_.get(); }

  // Sends `count` more requests; returns whether the socket took all that is to be sent.
  bool request(std::size_t count, std::int64_t now) {
    for (; count > 0; --count) {
      sent_at_[next_request_ % sent_at_.size()] = now;
      unsent_.append(exchanges_[next_request_++ % exchanges_.size()].request);
    }
    return flush();
  }

  bool flush() {
    const IoResult result = send(fd_.get(), unsent_);
    if (result.status == IoStatus::kError) throw std::runtime_error("lost a connection");
    if (result.status == IoStatus::kOk) unsent_.erase(0, result.bytes);
    return unsent_.empty();
  }

  // Checks received bytes against what must come; calls `replied(sent_at)` for each whole reply.
  template <class Replied>
  void check(std::string_view received, Replied replied) {
    while (!received.empty()) {
      const std::string& reply = exchanges_[next_reply_ % exchanges_.size()].reply;
      const std::string_view expected = std::string_view(reply).substr(matched_);
      const std::size_t length = std::min(expected.size(), received.size());
      if (next_reply_ == next_request_ ||
          received.substr(0, length) != expected.substr(0, length)) {
        throw std::runtime_error("wrong reply: " + std::string(received.substr(0, 100)));
      }
      received.remove_prefix(length);
      matched_ += length;
      if (matched_ < reply.size()) return;
      matched_ = 0;
      replied(sent_at_[next_reply_++ % sent_at_.size()]);
    }
  }

  bool counted = true;
  bool watched_for_output = false;

 private:
  const std::vector<Exchange>& exchanges_;
  UniqueFd fd_;
  std::vector<std::int64_t> sent_at_;  // ns, of the outstanding requests
  std::size_t next_request_;
  std::size_t next_reply_;
  std::size_t matched_ = 0;  // bytes of the next reply
  std::string unsent_;
};

class Load {
 public:
  Load(const LoadPlan& plan, const std::vector<Exchange>& exchanges)
      : plan_(plan), exchanges_(exchanges) {}

  LoadResult run() {
    open_idle();
    for (unsigned i = 0; i < plan_.connections; ++i) add(plan_.pipeline, i * 37, /*counted=*/true);
    if (plan_.greedy > 0) add(plan_.greedy, 0, /*counted=*/false);
    for (const auto& client : clients_) start(*client);

    turn_until(now_ns() + plan_.warm_up * 1000);
    result_.replies = result_.greedy_replies = 0;
    result_.latency = {};
    const ServerUsage before = usage_of(plan_.pid);
    const std::int64_t begin = now_ns();
    turn_until(plan_.duration > 0 ? begin + plan_.duration * 1000 : INT64_MAX);
    result_.seconds = static_cast<double>(now_ns() - begin) / 1e9;
    const ServerUsage after = usage_of(plan_.pid);
    result_.usage = {after.cpu_seconds - before.cpu_seconds,
                     after.context_switches - before.context_switches};
    return result_;
  }

 private:
  void add(unsigned pipeline, std::size_t first, bool counted) {
    clients_.push_back(std::make_unique<Client>(plan_.port, pipeline, first, exchanges_));
    clients_.back()->counted = counted;
    epoll_.add(clients_.back()->fd(), EPOLLIN, clients_.back().get());
  }

  void start(Client& client) {
    const std::size_t count = client.counted ? plan_.pipeline : plan_.greedy;
    watch_for_output(client, !client.request(count, now_ns()));
  }

  // One after the other: each has had its answer before the next one comes.
  void open_idle() {
    result_.memory_before = resident_bytes(plan_.pid);
    for (unsigned i = 0; i < plan_.idle; ++i) {
      Client& client = *idle_.emplace_back(std::make_unique<Client>(plan_.port, 1, i, exchanges_));
      client.request(1, 0);
      for (bool answered = false; !answered;) {
        pollfd readable{client.fd(), POLLIN, 0};
        if (poll(&readable, 1, kPatience) == 0) throw std::runtime_error("the server hangs");
        client.check(receive_some(client), [&](std::int64_t) { answered = true; });
      }
    }
    result_.memory_with_idle = resident_bytes(plan_.pid);
  }

  void turn_until(std::int64_t end) {
    for (std::int64_t now = now_ns(); now < end && !enough(); now = now_ns()) {
      const auto wait = std::min<std::int64_t>((end - now) / 1'000'000 + 1, kPatience);
      const auto fired = epoll_.wait(events_, static_cast<int>(wait));
      if (fired.empty() && wait == kPatience) throw std::runtime_error("the server hangs");
      for (const epoll_event& event : fired) {
        Client& client = *static_cast<Client*>(event.data.ptr);
        if ((event.events & EPOLLOUT) != 0) watch_for_output(client, !client.flush());
        if ((event.events & EPOLLIN) != 0) take_replies(client);
      }
    }
  }

  bool enough() const { return plan_.duration == 0 && result_.replies >= plan_.requests; }

  void take_replies(Client& client) {
    const std::string_view received = receive_some(client);
    const std::int64_t now = now_ns();
    std::size_t replies = 0;
    client.check(received, [&](std::int64_t sent_at) {
      ++replies;
      if (client.counted) result_.latency.record(now - sent_at);
    });
    (client.counted ? result_.replies : result_.greedy_replies) += replies;
    if (replies > 0) watch_for_output(client, !client.request(replies, now));
  }

  std::string_view receive_some(Client& client) {
    const IoResult result = receive(client.fd(), buffer_);
    if (result.status == IoStatus::kAgain) return {};
    if (result.status != IoStatus::kOk) throw std::runtime_error("lost a connection");
    return {buffer_.data(), result.bytes};
  }

  void watch_for_output(Client& client, bool wanted) {
    if (client.watched_for_output == wanted) return;
    client.watched_for_output = wanted;
    epoll_.modify(client.fd(), wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, &client);
  }

  const LoadPlan& plan_;
  const std::vector<Exchange>& exchanges_;
  Epoll epoll_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Client>> idle_;
  std::array<epoll_event, 256> events_{};
  std::array<char, 256 * 1024> buffer_{};
  LoadResult result_;
};

}  // namespace

LoadResult run_load(const LoadPlan& plan, const std::vector<Exchange>& exchanges) {
  return std::make_unique<Load>(plan, exchanges)->run();  // too large for the stack
}

}  // namespace pool_server::bench
