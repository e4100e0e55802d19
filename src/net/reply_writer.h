#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/byte_buffer.h"
#include "core/reorder_buffer.h"
#include "core/snapshot.h"
#include "core/task.h"
#include "net/buffer_pool.h"
#include "sys/socket.h"

namespace pool_server {

// The output side of a connection: answers in any order in, bytes in the order of the requests out.
// Loop thread only.
class ReplyWriter {
 public:
  // A place in the reply order, for a request of `text_bytes` that is admitted or refused.
  std::uint64_t reserve(std::size_t text_bytes) {
    bytes_in_flight_ += text_bytes;
    return order_.reserve();
  }

  // Files the answer to the request of `text_bytes`.
  void put(TaskPtr answer, std::size_t text_bytes);
  // The next answer whose turn has come; null: none. Its reply is to be appended.
  TaskPtr take_next();
  void append(std::string_view reply, BufferPool& buffers);

  // Gives away what a restart carries over: unsent output, and the answers owed in order. `undone`
  // are this connection's requests that have no answer yet, in any order. Nothing may be put any
  // more.
  void carry(std::vector<TaskPtr> undone, CarriedConnection& to);
  // Unsent output of before a restart, ahead of all else.
  void restore(std::string unsent) { unsent_.adopt(std::move(unsent)); }

  // One send of everything that is due; how far it got.
  IoResult flush(int fd, BufferPool& buffers);

  bool has_unsent() const { return !unsent_.empty(); }
  std::uint64_t unanswered() const { return order_.outstanding(); }
  // Request text in flight, answers that wait for their turn, and unsent output.
  std::size_t bytes_owed() const { return bytes_in_flight_ + bytes_held_ + unsent_.size(); }

 private:
  ReorderBuffer<Task> order_;
  ByteBuffer unsent_;
  std::size_t bytes_in_flight_ = 0;
  std::size_t bytes_held_ = 0;
};

}  // namespace pool_server
