#include "core/byte_buffer.h"

#include <algorithm>
#include <cassert>
#include <span>
#include <utility>

#include "core/wipe.h"

namespace pool_server {

void ByteBuffer::consume(std::size_t count) {
  assert(count <= size());
  taken_ += count;
  if (empty()) {
    wipe(data_);
    taken_ = 0;
  } else if (taken_ > data_.size() / 2) {
    // At least half is dead: moving the rest costs less than what was taken since the last move.
    const std::size_t left = size();
    std::copy(data_.begin() + static_cast<std::ptrdiff_t>(taken_), data_.end(), data_.begin());
    wipe(std::span<char>(data_).subspan(left));
    data_.resize(left);
    taken_ = 0;
  }
}

std::string ByteBuffer::release() {
  data_.erase(0, std::exchange(taken_, 0));
  return std::exchange(data_, std::string());
}

void ByteBuffer::adopt(std::string bytes) {
  assert(empty());
  data_ = std::move(bytes);
  taken_ = 0;
}

void ByteBuffer::exchange(std::string& bytes) {
  assert(empty());
  data_.clear();
  taken_ = 0;
  data_.swap(bytes);
}

void ByteBuffer::lend_storage(std::string storage) {
  assert(!has_storage() && empty());
  data_ = std::move(storage);
  data_.clear();
  taken_ = 0;
}

std::string ByteBuffer::give_up_storage() {
  assert(empty());
  taken_ = 0;
  return std::exchange(data_, std::string());
}

}  // namespace pool_server
