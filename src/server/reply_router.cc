#include "server/reply_router.h"

#include <algorithm>
#include <utility>

#include "core/protocol.h"

namespace pool_server {

namespace {

// To each of them something is sent at the end of the round.
constexpr std::size_t kMostToldStats = 32;
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
    pass_on(std::move(ended));
    return;
  }
  counters_.wait.record(ended->begun_at - ended->accepted_at);
  counters_.run.record(ended->ended_at - ended->begun_at);
  if (!ended->answered) {  // an overdue one was counted when it was answered
    ++counters_.completed;
    if (ended->outcome == Outcome::kError) ++*count_of(*ended);
  }
  pass_on(std::move(ended));
}

std::uint64_t* ReplyRouter::count_of(const Task& failed) {
  const bool crashed = failed.notes != nullptr && !failed.notes->crash().empty();
  return crashed ? &counters_.task_crashes : &counters_.task_errors;
}

void ReplyRouter::pass_on(TaskPtr ended) {
  Connection* connection = ended->answered ? nullptr : connections_.find(ended->connection);
  if (connection == nullptr) {
    ++counters_.dropped;
    recycler_.give(std::move(ended));
    return;
  }
  connection->had_work_for += ended->ended_at - ended->begun_at;
  connection->attempt([&] {
    if (ended->shed != Task::Shed::kNo) {
      ended->reply.clear();
      protocol::append_reply(Outcome::kError, protocol::kWaitedTooLong, ended->reply);
    }
    const std::size_t charge = ended->charge;
    put(*connection, std::move(ended), charge);
  });
}

void ReplyRouter::answer_overdue(const Worker::Running& task, std::string_view message) {
  ++counters_.completed;
  ++counters_.timeouts;
  Connection* connection = connections_.find(task.connection);
  if (connection == nullptr) return;
  connection->attempt([&] {
    TaskPtr answer = recycler_.take();
    answer->kind = Task::Kind::kRefusal;
    answer->sequence = task.sequence;
    answer->outcome = Outcome::kError;
    protocol::append_reply(Outcome::kError, message, answer->reply);
    put(*connection, std::move(answer), task.charge);
  });
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
  connection.writer().put(std::move(answer), charge);
  release(connection, /*stats=*/nullptr);
}

void ReplyRouter::tell_stats() {
  if (stats_due_.empty()) return;
  std::string stats;
  for (std::size_t left = std::min(stats_due_.size(), kMostToldStats); left > 0; --left) {
    Connection* connection = connections_.find(stats_due_.front());
    stats_due_.pop_front();
    if (connection == nullptr) continue;
    connection->awaits_stats = false;
    connection->attempt([&] {
      if (stats.empty()) stats = render_stats_() + '\n';
      release(*connection, &stats);
    });
  }
}

// Appends what has its turn to the output. `stats`: as they are now; null: not known.
void ReplyRouter::release(Connection& connection, const std::string* stats) {
  ReplyWriter& writer = connection.writer();
  while (const Task* next = writer.next()) {
    const bool asks_stats = next->kind == Task::Kind::kStats;
    if (asks_stats && stats == nullptr) {
      if (!connection.awaits_stats) stats_due_.push_back(connection.id());
      connection.awaits_stats = true;
      break;
    }
    TaskPtr answer = writer.take_next();
    writer.append(asks_stats ? *stats : answer->reply, connection.buffers());
    if (answer->outcome == Outcome::kError) {
      ++counters_.errors;
      stats = nullptr;
    }
    recycler_.give(std::move(answer));
  }
  connection.changed();
}

}  // namespace pool_server
