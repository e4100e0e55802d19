#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "children/child.h"
#include "children/exchange.h"

namespace pool_server {

// A line to a program and a line back, both at the same time: a child may answer before it has read
// all, and neither side is waited for while the other one waits. Nothing of either is kept. A reply
// that begins with "ERROR: " is an error, any other a result.
//
// A child that writes a second line for a request may do so after its first has been taken, and so
// after it was given the next request: that line must not become the next one's reply. So a child
// gets the first byte of a request alone, and the rest once it has read that. Who reads has written
// all that it had to, and cannot answer half a line; a line that is there by then is one too many.
// It takes a pipe that holds no more than one write (kPipeSize), which has room again when that has
// been read.
class LineExchange final : public Exchange {
 public:
  std::string_view refuses(std::string_view request) const override;
  void meet(Child& child, const ChildSettings& settings) override;
  Result run(Child& child, const Ask& ask, std::string& reply) override;
  std::string_view out_of_step() const override {
    return "it wrote more than a line for a request, or read less";
  }
  long take_unasked(Child& child) override;

 private:
  static constexpr int kPipeSize = 4096;
  static constexpr int kLargePipeSize = 64 * 1024;

  enum class Received : unsigned char { kSome, kLine, kTooMuch, kEnd };

  Result exchange(Child& child, const Ask& ask, std::string& reply);
  bool has_read(const Child& child) const;
  static void size_pipe(int input);
  bool send(const Child& child, std::string_view text, bool whole = true);
  bool send_first(const Child& child, std::string_view request);
  Received receive(const Child& child, std::string& reply);

  std::size_t sent_ = 0;                // bytes
  bool large_ = false;                  // the pipe, for a long request
  std::array<char, 64 * 1024> buffer_;  // wiped after each use
};

}  // namespace pool_server
