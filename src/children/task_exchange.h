#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "children/child.h"
#include "children/exchange.h"
#include "children/messages.h"
#include "core/handler.h"
#include "core/ids.h"

namespace pool_server {

// Requests to a process that runs a handler, and its replies: packets of a socket, see messages.h.
//
// Of a batch of short requests several are on their way at once. What the process has not begun
// with when one takes long, is stopped or ends it, is taken back from it, see claims.h, and given
// to another.
class TaskExchange final : public Exchange {
 public:
  void use(Upcoming& upcoming) override { upcoming_ = &upcoming; }
  std::string_view refuses(std::string_view) const override { return {}; }
  void meet(Child& child, const ChildSettings& settings) override;
  void part() noexcept override;
  bool is_ahead() const override { return ahead_ > 0; }
  Result run(Child& child, const Ask& ask, std::string& reply) override;
  long take_unasked(Child& child) override;

 private:
  static constexpr std::size_t kWindow = 32;           // requests
  static constexpr std::size_t kLongestAhead = 2'048;  // bytes
  static constexpr int kLong = 1;                      // ms: what takes longer holds others up
  static constexpr TimeUs kStopPatience = 2'000;       // µs, for a request that may be short

  enum class Received : unsigned char {
    kNothing,
    kSome,
    kReply,
    kThrown,
    kTooMuch,
    kMalformed,
    kEnd
  };

  void begin(const Child& child, std::string_view request);
  void send(const Child& child);
  void send_ahead(const Child& child, std::size_t most);
  Received receive(const Child& child, const Ask& ask, std::string& reply);
  Received receive_some(const Child& child, const Ask& ask, std::string& reply, int most);
  bool take_back(Child& child);
  Result stop(Child& child, const Ask& ask, std::string& reply);
  static bool is_all(Received received);
  static Result result_of(Received received);

  Upcoming* upcoming_ = nullptr;
  LongestReply longest_reply_;
  std::uint32_t generation_ = 0;
  std::uint32_t number_ = 0;  // of this request
  std::size_t ahead_ = 0;     // requests after it that the process was sent
  std::string_view unsent_;   // of this one
  bool all_sent_ = false;
  bool over_ = false;  // the process has ended, as end_ says; what it wrote may be there still
  std::array<char, kMostTaskBytes> buffer_;  // wiped after each use
};

}  // namespace pool_server
