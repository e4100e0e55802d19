#include "net/reply_writer.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <iterator>
#include <utility>

#include "core/protocol.h"

namespace pool_server {

namespace {

constexpr std::size_t kWorthAnExchange = 256;  // bytes
// What an answer of the loop's own takes while it waits for its turn: its run, and its text, which
// for a STATS is still to come: with every number at its longest it is less than this.
constexpr std::size_t kOwnAnswer = 512;  // bytes
constexpr std::size_t kStatsAnswer = 1024;

std::size_t held_by(const Run& answers) {
  const std::size_t own = answers.kind == Run::Kind::kStats     ? kStatsAnswer
                          : answers.kind == Run::Kind::kRefusal ? kOwnAnswer
                                                                : 0;
  return own + answers.replies.size();
}

// In the place of an answer that nobody has any more; there should be none such.
CarriedAnswer lost_answer() {
  CarriedAnswer answer{CarriedAnswer::Kind::kReply, Outcome::kError, {}};
  protocol::append_reply(answer.outcome, protocol::kInternalError, answer.text);
  return answer;
}

}  // namespace

void ReplyWriter::put(RunPtr answers, std::size_t charge) {
  assert(bytes_in_flight_ >= charge);
  bytes_in_flight_ -= charge;
  bytes_held_ += held_by(*answers);
  order_.put(std::move(answers));
}

RunPtr ReplyWriter::take_next() {
  RunPtr answers = order_.take_next();
  if (answers != nullptr) bytes_held_ -= held_by(*answers);
  return answers;
}

void ReplyWriter::append(std::string_view replies, BufferPool& buffers) {
  buffers.lend(unsent_);
  unsent_.append(replies);
}

void ReplyWriter::append(Run& answers, BufferPool& buffers) {
  buffers.lend(unsent_);
  std::string& replies = answers.replies;
  // A buffer that is much larger is not to wander into a run.
  if (unsent_.empty() && replies.size() >= kWorthAnExchange &&
      unsent_.storage() <= 4 * replies.capacity()) {
    unsent_.exchange(replies);
  } else {
    unsent_.append(replies);
  }
}

void ReplyWriter::carry(std::vector<RunPtr> undone, CarriedConnection& to) {
  to.unsent = unsent_.release();
  struct Owed {
    std::uint64_t sequence = 0;
    CarriedAnswer answer;
  };
  std::vector<Owed> owed;
  // Text that has been copied is let go at once, so that nothing is held twice for long.
  const auto add = [&owed](RunPtr run) {
    std::uint64_t sequence = run->sequence;
    if (run->kind == Run::Kind::kStats) {
      owed.push_back({sequence, {CarriedAnswer::Kind::kStats, Outcome::kOk, {}}});
    } else if (run->size() == 1 && run->text.size() <= run->tasks[0].size) {  // it may be large
      const bool ended = !run->replies.empty();
      owed.push_back({sequence,
                      {ended ? CarriedAnswer::Kind::kReply : CarriedAnswer::Kind::kRequest,
                       run->tasks[0].outcome, std::move(ended ? run->replies : run->text)}});
    } else if (!run->replies.empty()) {
      run->for_each_reply([&](const Task& task, std::string_view reply) {
        owed.push_back(
            {sequence++, {CarriedAnswer::Kind::kReply, task.outcome, std::string(reply)}});
      });
    } else {
      run->for_each_text([&](const Task&, std::string_view text) {
        owed.push_back(
            {sequence++, {CarriedAnswer::Kind::kRequest, Outcome::kOk, std::string(text)}});
      });
    }
  };
  // An answer that came after its request was copied from a worker wins over the copy.
  while (RunPtr answers = order_.give_up_first()) add(std::move(answers));
  for (RunPtr& run : undone) add(std::move(run));
  std::ranges::stable_sort(owed, {}, &Owed::sequence);
  std::uint64_t next = order_.next_to_release();
  for (Owed& each : owed) {
    if (each.sequence < next) continue;
    // No answer may be missing, or those after it would be taken for it.
    for (; next < each.sequence; ++next) to.owed.push_back(lost_answer());
    ++next;
    to.owed.push_back(std::move(each.answer));
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
