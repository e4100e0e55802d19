#include "server/reply_router.h"

#include <algorithm>
#include <utility>

#include "core/protocol.h"

namespace pool_server {

namespace {

// To each of them something is sent at the end of the round.
constexpr std::size_t kMostToldStats = 32;

}  // namespace

ReplyRouter::ReplyRouter(ConnectionTable& connections, Counters& counters, RunRecycler& recycler,
                         std::function<std::string()> render_stats)
    : connections_(connections),
      counters_(counters),
      recycler_(recycler),
      render_stats_(std::move(render_stats)) {}

void ReplyRouter::deliver(RunPtr ended) {
  if (ended->shed != Run::Shed::kNo) {
    (ended->shed == Run::Shed::kWaitedTooLong ? counters_.shed_timeout : counters_.shed_target) +=
        ended->size();
    ended->kind = Run::Kind::kRefusal;
    pass_on(std::move(ended));
    return;
  }
  TimeUs waited = ended->begun_at - ended->accepted_at;
  for (const Task& task : ended->tasks) {
    counters_.wait.record(waited);
    counters_.run.record(task.took);
    waited += task.took;
    if (ended->answered) continue;  // an overdue one was counted when it was answered
    ++counters_.completed;
    if (task.outcome == Outcome::kError) {
      ++(task.crashed ? counters_.task_crashes : counters_.task_errors);
    }
  }
  pass_on(std::move(ended));
}

void ReplyRouter::pass_on(RunPtr ended) {
  Connection* connection = ended->answered ? nullptr : connections_.find(ended->connection);
  if (connection == nullptr) {
    counters_.dropped += ended->size();
    recycler_.give(std::move(ended));
    return;
  }
  connection->had_work_for += ended->took();
  connection->attempt([&] {
    if (ended->shed != Run::Shed::kNo) {
      for (Task& task : ended->tasks) {
        task.outcome = Outcome::kError;
        protocol::append_reply(task.outcome, protocol::kWaitedTooLong, ended->replies);
      }
    }
    const std::size_t charge = ended->charge;
    put(*connection, std::move(ended), charge);
    connection->may_go_on();
  });
}

void ReplyRouter::answer_overdue(const Worker::Running& task, std::string_view message) {
  ++counters_.completed;
  ++counters_.timeouts;
  Connection* connection = connections_.find(task.connection);
  if (connection == nullptr) return;
  connection->attempt([&] {
    RunPtr answer = recycler_.take();
    answer->answer(Run::Kind::kRefusal, Outcome::kError);
    answer->sequence = task.sequence;
    protocol::append_reply(Outcome::kError, message, answer->replies);
    put(*connection, std::move(answer), task.charge);
    connection->may_go_on();
  });
}

void ReplyRouter::answer_error(Connection& connection, std::string_view message) {
  RunPtr answer = recycler_.take();
  answer->answer(Run::Kind::kRefusal, Outcome::kError);
  answer->sequence = connection.writer().reserve(0);
  protocol::append_reply(Outcome::kError, message, answer->replies);
  put(connection, std::move(answer), 0);
}

void ReplyRouter::answer_carried(Connection& connection, const CarriedAnswer& carried) {
  RunPtr answer = recycler_.take();
  answer->answer(Run::Kind::kRefusal, carried.outcome);
  answer->sequence = connection.writer().reserve(0);
  answer->replies = carried.text;
  put(connection, std::move(answer), 0);
}

void ReplyRouter::answer_stats(Connection& connection) {
  RunPtr answer = recycler_.take();
  answer->answer(Run::Kind::kStats, Outcome::kOk);
  answer->sequence = connection.writer().reserve(0);
  put(connection, std::move(answer), 0);
}

void ReplyRouter::put(Connection& connection, RunPtr answer, std::size_t charge) {
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
  while (const Run* next = writer.next()) {
    const bool asks_stats = next->kind == Run::Kind::kStats;
    if (asks_stats && stats == nullptr) {
      if (!connection.awaits_stats) stats_due_.push_back(connection.id());
      connection.awaits_stats = true;
      break;
    }
    RunPtr answer = writer.take_next();
    if (asks_stats) {
      writer.append(*stats, connection.buffers());
    } else {
      writer.append(*answer, connection.buffers());
    }
    if (const std::size_t errors = answer->errors(); errors > 0) {
      counters_.errors += errors;
      stats = nullptr;
    }
    recycler_.give(std::move(answer));
  }
  connection.changed();
}

}  // namespace pool_server
