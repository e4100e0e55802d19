#include "server/reply_router.h"

#include <utility>

#include "core/protocol.h"

namespace pool_server {

namespace {

// A STATS is made when its turn comes; this is more than it takes with every number at its longest.
constexpr std::size_t kStatsCharge = 1024;  // bytes

}  // namespace

ReplyRouter::ReplyRouter(ConnectionTable& connections, Counters& counters, TaskRecycler& recycler,
                         std::function<std::string()> render_stats)
    : connections_(connections),
      counters_(counters),
      recycler_(recycler),
      render_stats_(std::move(render_stats)) {}

void ReplyRouter::deliver(TaskPtr ended) {
  if (ended->shed != Task::Shed::kNo) {
    ++(ended->shed == Task::Shed::kWaitedTooLong ? counters_.shed_timeout : counters_.shed_target);
    ended->kind = Task::Kind::kRefusal;
    ended->outcome = Outcome::kError;
    ended->reply.clear();
    protocol::append_reply(Outcome::kError, protocol::kWaitedTooLong, ended->reply);
    pass_on(std::move(ended));
    return;
  }
  counters_.wait.record(ended->begun_at - ended->accepted_at);
  counters_.run.record(ended->ended_at - ended->begun_at);
  if (!ended->answered) ++counters_.completed;  // an overdue one was counted when it was answered
  pass_on(std::move(ended));
}

void ReplyRouter::pass_on(TaskPtr ended) {
  Connection* connection = ended->answered ? nullptr : connections_.find(ended->connection);
  if (connection == nullptr) {
    ++counters_.dropped;
    recycler_.give(std::move(ended));
    return;
  }
  const std::size_t charge = ended->charge;
  put(*connection, std::move(ended), charge);
}

void ReplyRouter::answer_overdue(const Worker::Running& task, std::string_view message) {
  ++counters_.completed;
  ++counters_.timeouts;
  Connection* connection = connections_.find(task.connection);
  if (connection == nullptr) return;
  TaskPtr answer = recycler_.take();
  answer->kind = Task::Kind::kRefusal;
  answer->sequence = task.sequence;
  answer->outcome = Outcome::kError;
  protocol::append_reply(Outcome::kError, message, answer->reply);
  put(*connection, std::move(answer), task.charge);
}

void ReplyRouter::answer_error(Connection& connection, std::string_view message) {
  TaskPtr answer = recycler_.take();
  answer->kind = Task::Kind::kRefusal;
  answer->sequence = connection.writer().reserve(0);
  answer->outcome = Outcome::kError;
  protocol::append_reply(Outcome::kError, message, answer->reply);
  put(connection, std::move(answer), 0);
}

void ReplyRouter::answer_carried(Connection& connection, const CarriedAnswer& carried) {
  TaskPtr answer = recycler_.take();
  answer->kind = Task::Kind::kRefusal;
  answer->sequence = connection.writer().reserve(0);
  answer->outcome = carried.outcome;
  answer->reply = carried.text;
  put(connection, std::move(answer), 0);
}

void ReplyRouter::answer_stats(Connection& connection) {
  TaskPtr answer = recycler_.take();
  answer->kind = Task::Kind::kStats;
  answer->sequence = connection.writer().reserve(kStatsCharge);
  put(connection, std::move(answer), kStatsCharge);
}

void ReplyRouter::put(Connection& connection, TaskPtr answer, std::size_t charge) {
  ReplyWriter& writer = connection.writer();
  writer.put(std::move(answer), charge);
  while (TaskPtr next = writer.take_next()) {
    if (next->kind == Task::Kind::kStats) {
      next->reply = render_stats_();
      next->reply.push_back('\n');
    }
    if (next->outcome == Outcome::kError) ++counters_.errors;
    writer.append(next->reply, connection.buffers());
    recycler_.give(std::move(next));
  }
  connection.changed();
}

}  // namespace pool_server
