#pragma once

#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/byte_buffer.h"

namespace pool_server {

// The loop's buffers, lent to connections while they hold bytes: an idle connection owns none, and
// a busy loop allocates none. Loop thread only.
class BufferPool {
 public:
  // What one recv may bring. Used within one call only.
  std::span<char> scratch() { return scratch_; }

  // One that holds bytes keeps the storage that it has, be it only that of a short string.
  void lend(ByteBuffer& to) {
    if (!to.empty() || to.has_storage() || spare_.empty()) return;
    to.lend_storage(std::move(spare_.back()));
    spare_.pop_back();
  }

  void take_back(ByteBuffer& from) {
    if (!from.has_storage()) return;
    std::string storage = from.give_up_storage();
    if (spare_.size() < kMaxSpare && storage.capacity() <= kMaxCapacity) {
      spare_.push_back(std::move(storage));
    }
  }

 private:
  static constexpr std::size_t kScratchSize = 64 * 1024;
  // Together at most 16 MiB are kept.
  static constexpr std::size_t kMaxSpare = 64;
  static constexpr std::size_t kMaxCapacity = 256 * 1024;

  std::array<char, kScratchSize> scratch_{};
  std::vector<std::string> spare_;
};

}  // namespace pool_server
