#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "children/child.h"
#include "children/exchange.h"
#include "children/frame_decoder.h"

namespace pool_server {

// A request to a program as a frame, and its reply as another (--program-protocol frames), as
// pool-server-program(7) has them: any bytes pass, and a reply names the request that it is for, so
// one that comes too late, or twice, is nobody else's.
class FrameExchange final : public Exchange {
 public:
  std::string_view refuses(std::string_view) const override { return {}; }
  void meet(Child& child, const ChildSettings& settings) override;
  Result run(Child& child, const Ask& ask, std::string& reply) override;
  long take_unasked(Child& child) override;

 private:
  static constexpr std::size_t kRequestHeader = 8;  // bytes: length, number

  bool send(const Child& child, std::string_view request);
  // What is there, up to the reply, in so many reads. Nullopt: the child has closed its output.
  std::optional<FrameDecoder::Found> receive(const Child& child, std::string& reply,
                                             int most_reads);

  std::uint32_t number_ = 0;  // of the request
  std::size_t sent_ = 0;      // bytes of its frame
  std::array<char, kRequestHeader> request_header_{};
  FrameDecoder frames_;                 // that come in
  std::array<char, 64 * 1024> buffer_;  // wiped after each use
};

}  // namespace pool_server
