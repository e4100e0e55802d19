#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/byte_buffer.h"
#include "core/reorder_buffer.h"
#include "core/run.h"
#include "core/snapshot.h"
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

  // Files the answers to requests that were charged so.
  void put(RunPtr answers, std::size_t charge);
  // The next answers whose turn has come; null: none.
  const Run* next() const { return order_.next(); }
  // The same, taken: their replies are to be appended.
  RunPtr take_next();
  void append(std::string_view replies, BufferPool& buffers);
  // The same of a run that has been taken. It gives its replies away.
  void append(Run& answers, BufferPool& buffers);

  // Gives away what a restart carries over: unsent output, and the answers owed in order. `undone`
  // are this connection's requests that have no answer yet, in any order. Nothing may be put any
  // more.
  void carry(std::vector<RunPtr> undone, CarriedConnection& to);
  // Unsent output of before a restart, ahead of all else.
  void restore(std::string unsent) { unsent_.adopt(std::move(unsent)); }

  // One send of everything that is due; how far it got.
  IoResult flush(int fd, BufferPool& buffers);

  std::string_view unsent() const { return unsent_.bytes(); }
  bool has_unsent() const { return !unsent_.empty(); }
  std::uint64_t unanswered() const { return order_.outstanding(); }
  // What requests in flight are charged with, answers that wait for their turn, unsent output.
  std::size_t bytes_owed() const { return bytes_in_flight_ + bytes_held_ + unsent_.size(); }

 private:
  ReorderBuffer<Run> order_;
  ByteBuffer unsent_;
  std::size_t bytes_in_flight_ = 0;
  std::size_t bytes_held_ = 0;
};

}  // namespace pool_server
