#include "net/reply_writer.h"

#include <cassert>
#include <utility>

namespace pool_server {

void ReplyWriter::put(TaskPtr answer, std::size_t text_bytes) {
  assert(bytes_in_flight_ >= text_bytes);
  bytes_in_flight_ -= text_bytes;
  bytes_held_ += answer->reply.size();
  order_.put(std::move(answer));
}

TaskPtr ReplyWriter::take_next() {
  TaskPtr answer = order_.take_next();
  if (answer != nullptr) bytes_held_ -= answer->reply.size();
  return answer;
}

void ReplyWriter::append(std::string_view reply, BufferPool& buffers) {
  buffers.lend(unsent_);
  unsent_.append(reply);
}

IoResult ReplyWriter::flush(int fd, BufferPool& buffers) {
  const IoResult result = send(fd, unsent_.bytes());
  if (result.status == IoStatus::kOk) unsent_.consume(result.bytes);
  if (unsent_.empty()) buffers.take_back(unsent_);
  return result;
}

}  // namespace pool_server
