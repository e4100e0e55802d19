#include "children/frame_decoder.h"

#include <algorithm>

namespace pool_server {

namespace {

std::uint32_t number_at(const char* from) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

}  // namespace

FrameDecoder::Found FrameDecoder::take(std::string_view& bytes, std::string& reply,
                                       std::size_t longest) {
  while (!bytes.empty()) {
    if (header_size_ < kHeader && !take_header(bytes)) return Found::kNothing;
    const char outcome = header_.back();
    if (outcome != 0 && outcome != 1) return Found::kMalformed;
    if (!stale_ && left_ > longest - std::min(longest, reply.size())) return Found::kTooMuch;
    const std::string_view text = bytes.substr(0, left_);
    if (!stale_) reply.append(text);
    bytes.remove_prefix(text.size());
    left_ -= text.size();
    if (left_ > 0) return Found::kNothing;
    header_size_ = 0;
    if (!stale_) {
      outcome_ = outcome == 0 ? Outcome::kOk : Outcome::kError;
      return Found::kReply;
    }
    passed_over_ = true;
  }
  return Found::kNothing;
}

// False: it is not whole yet.
bool FrameDecoder::take_header(std::string_view& bytes) {
  const std::size_t size = std::min(bytes.size(), kHeader - header_size_);
  std::copy_n(bytes.begin(), size, header_.begin() + header_size_);
  bytes.remove_prefix(size);
  header_size_ += size;
  if (header_size_ < kHeader) return false;
  left_ = number_at(header_.data());
  stale_ = number_at(header_.data() + 4) != number_;
  return true;
}

}  // namespace pool_server
