#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pool_server {

// A byte queue of one connection: output not sent yet, or input not decoded yet. Pure.
//
// Its storage can be lent: an empty buffer gives it up, so that an idle connection owns none and a
// busy one allocates nothing in the steady state.
class ByteBuffer {
 public:
  void append(std::string_view more) { data_.append(more); }
  std::string_view bytes() const { return std::string_view(data_).substr(taken_); }
  std::size_t size() const { return data_.size() - taken_; }
  bool empty() const { return taken_ == data_.size(); }

  // The first `count` bytes have been dealt with.
  void consume(std::size_t count);

  // All of it, and back: only into an empty one. Nothing is copied.
  std::string release();
  void adopt(std::string bytes);

  // Takes up all of `bytes` at once, and gives its own storage for it, without copying: only while
  // it is empty.
  void exchange(std::string& bytes);

  bool has_storage() const { return data_.capacity() > kInlineCapacity; }
  std::size_t storage() const { return data_.capacity(); }  // bytes
  void lend_storage(std::string storage);                   // only while it has none and is empty
  std::string give_up_storage();                            // only while it is empty

 private:
  static constexpr std::size_t kInlineCapacity = 15;  // libstdc++'s: such a string owns no memory

  std::string data_;
  std::size_t taken_ = 0;
};

}  // namespace pool_server
