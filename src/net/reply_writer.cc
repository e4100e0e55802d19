#include "net/reply_writer.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <utility>

#include "core/protocol.h"

namespace pool_server {

namespace {

// In the place of an answer that nobody has any more; there should be none such.
CarriedAnswer lost_answer() {
  CarriedAnswer answer{CarriedAnswer::Kind::kReply, Outcome::kError, {}};
  protocol::append_reply(answer.outcome, protocol::kInternalError, answer.text);
  return answer;
}

}  // namespace

void ReplyWriter::put(TaskPtr answer, std::size_t charge) {
  assert(bytes_in_flight_ >= charge);
  bytes_in_flight_ -= charge;
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

void ReplyWriter::carry(std::vector<const Task*> undone, CarriedConnection& to) const {
  to.unsent = unsent_.bytes();
  // An answer that came after its request was copied from a worker wins over the copy.
  std::vector<const Task*> owed;
  order_.for_each_held([&owed](const Task& answer) { owed.push_back(&answer); });
  owed.insert(owed.end(), undone.begin(), undone.end());
  std::ranges::stable_sort(owed, {}, &Task::sequence);
  std::uint64_t next = order_.next_to_release();
  for (const Task* task : owed) {
    if (task->sequence < next) continue;
    // No answer may be missing, or those after it would be taken for it.
    for (; next < task->sequence; ++next) to.owed.push_back(lost_answer());
    ++next;
    if (task->kind == Task::Kind::kStats) {
      to.owed.push_back({CarriedAnswer::Kind::kStats, Outcome::kOk, {}});
    } else if (!task->reply.empty()) {
      to.owed.push_back({CarriedAnswer::Kind::kReply, task->outcome, task->reply});
    } else {
      to.owed.push_back({CarriedAnswer::Kind::kRequest, Outcome::kOk, task->text});
    }
  }
  const std::uint64_t end = order_.next_to_release() + order_.outstanding();
  for (; next < end; ++next) to.owed.push_back(lost_answer());
}

IoResult ReplyWriter::flush(int fd, BufferPool& buffers) {
  const IoResult result = send(fd, unsent_.bytes());
  if (result.status == IoStatus::kOk) unsent_.consume(result.bytes);
  if (unsent_.empty()) buffers.take_back(unsent_);
  return result;
}

}  // namespace pool_server
