#pragma once

#include <cstddef>
#include <string_view>
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
  // A place in the reply order. `charge`: the bytes that the request, and the longest reply it can
  // have, take until it is answered.
  std::uint64_t reserve(std::size_t charge) {
    bytes_in_flight_ += charge;
    return order_.reserve();
  }

  // Files the answer to a request that was charged so.
  void put(TaskPtr answer, std::size_t charge);
  // The next answer whose turn has come; null: none.
  const Task* next() const { return order_.next(); }
  // The same, taken: its reply is to be appended.
  TaskPtr take_next();
  void append(std::string_view reply, BufferPool& buffers);

  // What a restart carries over: unsent output, and the answers owed in order. `undone` are this
  // connection's requests that have no answer yet, in any order.
  void carry(std::vector<const Task*> undone, CarriedConnection& to) const;

  // One send of everything that is due; how far it got.
  IoResult flush(int fd, BufferPool& buffers);

  std::string_view unsent() const { return unsent_.bytes(); }
  bool has_unsent() const { return !unsent_.empty(); }
  std::uint64_t unanswered() const { return order_.outstanding(); }
  // What requests in flight are charged with, answers that wait for their turn, unsent output.
  std::size_t bytes_owed() const { return bytes_in_flight_ + bytes_held_ + unsent_.size(); }

 private:
  ReorderBuffer<Task> order_;
  ByteBuffer unsent_;
  std::size_t bytes_in_flight_ = 0;
  std::size_t bytes_held_ = 0;
};

}  // namespace pool_server
