#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/byte_buffer.h"
#include "core/wipe.h"

namespace pool_server {

// The loop's buffers, lent to connections while they hold bytes: an idle connection owns none, and
// a busy loop allocates none. Loop thread only.
class BufferPool {
 public:
  BufferPool() { spare_.reserve(kMaxSpare); }  // to take one back takes no memory

  // Where the next recv puts what it brings: as much as one may bring. It can be used for another
  // one unless some of it is kept.
  std::span<char> input_room() { return std::span(input_).subspan(input_kept_, kMostInput); }
  bool has_input_room() const { return input_.size() - input_kept_ >= kMostInput; }
  // The first `bytes` of it stay as they are until all that is kept is let go.
  void keep_input(std::size_t bytes) { input_kept_ += bytes; }
  // Nothing of it stays.
  void let_input_go() { wipe(std::span(input_).first(std::exchange(input_kept_, 0))); }

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
  static constexpr std::size_t kMostInput = 64 * 1024;
  // Together at most 16 MiB are kept.
  static constexpr std::size_t kMaxSpare = 64;
  static constexpr std::size_t kMaxCapacity = 256 * 1024;

  std::array<char, 4 * kMostInput> input_{};
  std::size_t input_kept_ = 0;
  std::vector<std::string> spare_;
};

}  // namespace pool_server
