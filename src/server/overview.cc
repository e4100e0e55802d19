#include "server/overview.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/command_words.h"
#include "server/log.h"
#include "sys/clock.h"

namespace pool_server {

namespace {

constexpr std::size_t kMostGreedy = 10;
// What takes longer to find out is looked at this often.
constexpr TimeUs kUsagePeriod = 1'000'000;
// Clients that are looked at in one go, of however many: some 50 µs. The greediest are greedy for
// long, so that they are found a little later, and are remembered then.
constexpr std::size_t kSlotsAtOnce = 512;

using State = ServerState::Worker::State;

ServerState::Client describe(const Connection& connection) {
  return {.connection = connection.serial(),
          .peer = connection.peer(),
          .requests = connection.requests,
          .in_flight = connection.writer().unanswered(),
          .work = connection.had_work_for};
}

// Without its arguments, among which may be what is not for everybody.
std::string name_of_program(const std::string& command) {
  const std::string program = split_command(command).front();
  return program.substr(program.rfind('/') + 1);
}

bool is_stuck(const ThreadPool::Seen& seen) {
  return seen.running && seen.running->answered;
}

}  // namespace

Overview::Overview(const Options& options, ThreadPool& pool, ConnectionTable& connections,
                   ChildrenWatch* children, Counters& counters, std::function<Moment()> moment)
    : options_(options),
      pool_(pool),
      connections_(connections),
      children_(children),
      counters_(counters),
      moment_(std::move(moment)) {
  if (children_ != nullptr) programs_.emplace(children_->nursery(), counters.programs_cpu);
}

ServerState Overview::state() {
  const Moment moment = moment_();
  ServerState state;
  state.version = POOL_SERVER_VERSION;
  state.handler = !options_.program.empty() ? name_of_program(options_.program)
                  : children_ != nullptr    ? children_->handler()
                                            : options_.handler;
  state.pid = ::getpid();
  state.now = unix_now();
  state.started = moment.started;
  state.phase = moment.phase;
  state.queue_depth = moment.stats.queue_depth;
  state.queue_capacity = moment.stats.queue_capacity;
  state.workers_min = options_.min_workers;
  state.workers_max = options_.max_workers;
  state.no_worker_available = no_worker_available();
  state.can_grow = can_grow();
  state.connections = moment.stats.connections;
  state.connections_limit = options_.max_connections;
  look_at_usage(moment.now);
  state.counters = counters_;
  state.process = process_;
  if (programs_ && programs_->known()) {
    state.programs = {.cpu = programs_->known()->cpu, .resident = programs_->known()->resident};
  }
  look_at_workers(moment.now, state);
  look_at_clients(state);
  const auto& lines = log::recent().lines();
  state.log.assign(lines.begin(), lines.end());
  return state;
}

void Overview::look_at_workers(TimeUs now, ServerState& state) {
  for (const ThreadPool::Seen& seen : pool_.look()) {
    ServerState::Worker worker{.index = seen.worker};
    if (const auto& task = seen.running) {
      worker.state = is_stuck(seen) ? State::kStuck : State::kRunning;
      worker.at_work = true;
      worker.task = task->number;
      worker.connection = task->serial;
      worker.busy_for = std::max<TimeUs>(now - task->begun_at, 0);
    } else if (children_ != nullptr && children_->is_unable(seen.worker)) {
      worker.state = State::kCrashed;
    }
    state.workers.push_back(worker);
  }
  std::ranges::sort(state.workers, {}, &ServerState::Worker::index);
}

void Overview::look_at_clients(ServerState& state) {
  std::vector<const Connection*> seen;
  for (const ConnectionId id : greediest_) {
    if (const Connection* connection = connections_.find(id)) seen.push_back(connection);
  }
  if (next_slot_ >= connections_.slots()) next_slot_ = 0;
  const std::size_t known = seen.size();
  connections_.for_each_of(next_slot_, kSlotsAtOnce, [&](const Connection& connection) {
    const auto end = seen.begin() + static_cast<std::ptrdiff_t>(known);
    const bool is_known = std::find(seen.begin(), end, &connection) != end;
    if (connection.requests > 0 && !is_known) seen.push_back(&connection);
  });
  next_slot_ += kSlotsAtOnce;
  const std::size_t most = std::min(seen.size(), kMostGreedy);
  std::ranges::partial_sort(seen, seen.begin() + static_cast<std::ptrdiff_t>(most),
                            std::ranges::greater(), [](const Connection* connection) {
                              return std::pair(connection->had_work_for, connection->requests);
                            });
  seen.resize(most);
  greediest_.clear();
  for (const Connection* connection : seen) {
    greediest_.push_back(connection->id());
    state.greediest.push_back(describe(*connection));
  }
}

// Not each time: for the CPU time the kernel asks every thread.
void Overview::look_at_usage(TimeUs now) {
  if (now < usage_due_) return;
  usage_due_ = now + kUsagePeriod;
  process_ = {.cpu = counters_.cpu_before + cpu_time(), .resident = memory_.bytes()};
  if (!programs_) return;
  programs_->look();
  if (programs_->known()) counters_.programs_cpu = programs_->known()->cpu;
}

void Overview::on_trouble(const std::string& what) {
  log::attempt([&] { log::write(LogLevel::kWarning, "monitor-failed", {}, what); });
}

// Workers that there could be are as good as those that there are: they are started in no time.
bool Overview::can_grow() const {
  return pool_.start_failure().empty() && pool_.size() < options_.max_workers;
}

bool Overview::no_worker_available() const {
  return children_ != nullptr && !children_->any_able();
}

AgentReport::Sample Overview::agent_sample() {
  const Moment moment = moment_();
  const std::vector<ThreadPool::Seen> seen = pool_.look();
  // As in can_grow().
  const std::size_t wanted = pool_.start_failure().empty() ? options_.max_workers : pool_.size();
  AgentReport::Sample sample;
  sample.now = moment.now;
  sample.workers = options_.max_workers;
  sample.able = wanted;
  sample.queue_depth = moment.stats.queue_depth;
  sample.queue_capacity = moment.stats.queue_capacity;
  sample.succeeded = succeeded(counters_);
  sample.run_time = counters_.run.sum();
  sample.full = static_cast<double>(options_.agent_full_rate);
  std::size_t stuck = 0;
  std::size_t unable = 0;
  for (const ThreadPool::Seen& each : seen) {
    const auto& task = each.running;
    if (is_stuck(each)) {
      ++stuck;
    } else if (task) {
      ++sample.running;
      sample.running_for += std::max<TimeUs>(moment.now - task->begun_at, 0);
    } else if (children_ != nullptr && children_->is_unable(each.worker)) {
      ++unable;
    }
  }
  // Those that were given up have others in their place.
  unable += stuck - std::min<std::size_t>(stuck, pool_.stuck());
  sample.able -= std::min(sample.able, unable);
  return sample;
}

std::string_view Overview::hopeless() {
  const std::vector<ThreadPool::Seen> seen = pool_.look();
  const auto stuck = std::ranges::count_if(seen, is_stuck);
  return why_no_progress(no_worker_available(), can_grow(), seen.size(),
                         static_cast<std::size_t>(stuck));
}

void Overview::on_agent_trouble(const std::string& what) {
  log::attempt([&] { log::write(LogLevel::kWarning, "agent-failed", {}, what); });
}

}  // namespace pool_server
