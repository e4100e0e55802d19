#include "views/dashboard.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <functional>
#include <iterator>
#include <string_view>

#include "views/words.h"

namespace pool_server::views {

namespace {

using Worker = ServerState::Worker;
using Client = ServerState::Client;

constexpr std::size_t kWorkerWidth = 40;
constexpr std::size_t kPlenty = 100'000;  // more than any screen has

std::string_view state_in_words(const std::string& state) {
  if (state == "lame-duck") return "lame duck";
  if (state == "handing-over") return "handing over";
  return state;
}

// How one tells from afar that something is wrong.
Look look_of(const ServerState& state) {
  if (state.ready) return Look::kGood;
  return state.state == "serving" ? Look::kBad : Look::kWarning;
}

Line title(const View& view, std::size_t width) {
  Line line;
  line.add("pool-server", Look::kStrong);
  if (!view.state) return line;
  const ServerState& state = *view.state;
  line.add(" " + state.handler, Look::kStrong).add("  ");
  line.add(state_in_words(state.state), look_of(state));
  std::string about = state.version + ", process " + std::to_string(state.pid) + ", up " +
                      age_in_words(view.now - state.started);
  if (state.restarts_survived > 0) {
    about += ", " + in_groups(state.restarts_survived) +
             (state.restarts_survived == 1 ? " restart" : " restarts");
  }
  return line.right(about, width, Look::kSoft);
}

Line alarm(const View& view) {
  Line line;
  if (view.fault.empty()) {
    if (!view.state || view.state->ready) return line;
    const std::string& why = view.state->not_ready_because;
    return line.add(why.empty() ? "not ready" : "not ready: " + why, look_of(*view.state));
  }
  line.add("Cannot reach " + view.address + " for " + age_in_words(view.lost_for) + ": " +
               view.fault + ". Trying again.",
           Look::kReverse);
  return line;
}

Line rates(const View& view) {
  const std::optional<HistoryRow> now = view.history.rates(view.now);
  const auto rate = [&](double HistoryRow::*outcome) {
    return rate_in_words(now ? std::optional((*now).*outcome) : std::nullopt);
  };
  Line line;
  line.add("requests/s", Look::kSoft).to(13).add("ok ", Look::kSoft);
  line.add(rate(&HistoryRow::ok), Look::kStrong);
  struct Outcome {
    const char* name;
    double HistoryRow::*count;
    Look look;
  };
  const Outcome outcomes[] = {{"error", &HistoryRow::error, Look::kWarning},
                              {"time-out", &HistoryRow::timeout, Look::kWarning},
                              {"shed", &HistoryRow::shed, Look::kWarning},
                              {"crashed", &HistoryRow::crashed, Look::kBad}};
  for (const Outcome& outcome : outcomes) {
    const bool some = now && (*now).*outcome.count > 0;
    line.add("   ").add(outcome.name, Look::kSoft).add(" ");
    line.add(rate(outcome.count), some ? outcome.look : Look::kPlain);
  }
  return line;
}

// A bar for each step of the last minute: none where nothing is known.
Line sparkline(const View& view) {
  constexpr std::string_view kLevels[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const std::vector<HistoryRow>& rows = view.history.rows();
  const double step = rows.empty() ? 2 : rows.back().step;
  const auto bars =
      static_cast<std::size_t>(std::clamp(std::ceil(History::kSpan / step), 1.0, 60.0));
  std::vector<double> heights(bars, 0);
  double highest = 0;
  for (const HistoryRow& row : rows) {
    const double steps_ago = std::max(0.0, std::round((view.history.last() - row.time) / step));
    if (steps_ago >= static_cast<double>(bars)) continue;
    const double rate = row.all() / row.step;
    heights[bars - 1 - static_cast<std::size_t>(steps_ago)] = rate;
    highest = std::max(highest, rate);
  }
  std::string text;
  for (const double height : heights) {
    const double part = highest > 0 ? std::ceil(8 * height / highest) : 0;
    text += kLevels[static_cast<std::size_t>(std::clamp(part, 0.0, 8.0))];
  }
  Line line;
  line.add("last minute", Look::kSoft).to(13).add(text).add("   at most ", Look::kSoft);
  return line.add(rate_in_words(rows.empty() ? std::nullopt : std::optional(highest)));
}

void add_times(Line& line, const char* name, const ServerState::Percentiles& times) {
  line.add(name, Look::kSoft);
  line.right(duration_in_words(times.p50), 22).right(duration_in_words(times.p99), 32);
  line.right(duration_in_words(times.max), 42);
}

// How full something is, ten characters long.
std::string gauge(std::uint64_t part, std::uint64_t whole) {
  const double share = whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
  const auto full = static_cast<std::size_t>(std::clamp(std::ceil(share * 10), 0.0, 10.0));
  return "[" + std::string(full, '#') + std::string(10 - full, ' ') + "]";
}

void add_amounts(const ServerState& state, std::vector<Line>& lines) {
  Line names;
  names.right("p50", 22, Look::kSoft).right("p99", 32, Look::kSoft).right("max", 42, Look::kSoft);
  Line wait, run;
  add_times(wait, "wait", state.wait);
  add_times(run, "run", state.run);
  const bool full = state.queue_capacity > 0 && state.queue_depth >= state.queue_capacity;
  wait.to(46).add("queue ", Look::kSoft);
  wait.add(in_groups(state.queue_depth), full ? Look::kBad : Look::kPlain);
  wait.add(" of " + in_groups(state.queue_capacity) + " ");
  wait.add(gauge(state.queue_depth, state.queue_capacity), full ? Look::kBad : Look::kPlain);
  run.to(46).add("connections ", Look::kSoft).add(in_groups(state.connections));
  run.add(" of " + in_groups(state.connection_limit));
  if (state.carried > 0) run.add(", " + in_groups(state.carried) + " carried", Look::kSoft);
  lines.insert(lines.end(), {names, wait, run});
}

Look look_of(const Worker& worker) {
  if (worker.state == "stuck") return Look::kWarning;
  if (worker.state == "crashed") return Look::kBad;
  return worker.state == "running" ? Look::kPlain : Look::kSoft;
}

// Those one has to see first: in trouble, then at work for long. The others keep their places, as
// nobody can read what changes them each second.
std::vector<Worker> in_order(std::vector<Worker> workers) {
  constexpr double kLong = 1;
  const auto rank = [](const Worker& worker) {
    if (worker.state == "crashed") return 0;
    if (worker.state == "stuck") return 1;
    return worker.seconds.value_or(0) >= kLong ? 2 : 3;
  };
  std::ranges::stable_sort(workers, [&](const Worker& a, const Worker& b) {
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return rank(a) < 3 && a.seconds.value_or(0) > b.seconds.value_or(0);
  });
  return workers;
}

void add_worker(Line& line, const Worker& worker, std::size_t begin, std::size_t end) {
  line.to(begin).add(worker.name + " ").add(worker.state, look_of(worker));
  if (worker.seconds) line.add(" " + duration_in_words(worker.seconds));
  if (worker.task) line.add(" task " + std::to_string(*worker.task), Look::kSoft);
  if (worker.connection) line.add(" conn " + std::to_string(*worker.connection), Look::kSoft);
  line.cut_at(end);
}

// `across`: how many stand in a line.
std::vector<Line> workers(const ServerState& state, std::size_t across, std::size_t most) {
  const auto of = [&](std::string_view kind) {
    return std::ranges::count(state.workers, kind, &Worker::state);
  };
  Line head;
  head.add("WORKERS", Look::kStrong).to(13);
  head.add(std::to_string(of("running")) + " running of " + std::to_string(state.workers.size()));
  for (const char* kind : {"stuck", "crashed"}) {
    if (of(kind) > 0) head.add(", " + std::to_string(of(kind)) + " " + kind, Look::kBad);
  }
  head.add("; from " + in_groups(state.workers_min) + " to " + in_groups(state.workers_max),
           Look::kSoft);
  std::vector<Line> lines{head};
  const std::vector<Worker> ordered = in_order(state.workers);
  std::size_t next = 0;
  while (next < ordered.size() && lines.size() < most) {
    Line line;
    for (std::size_t i = 0; i < across && next < ordered.size(); ++i, ++next) {
      const std::size_t begin = i * kWorkerWidth;
      add_worker(line, ordered[next], begin, i + 1 < across ? begin + kWorkerWidth - 2 : kPlenty);
    }
    lines.push_back(line);
  }
  if (next < ordered.size()) {
    lines.front().add("; " + std::to_string(ordered.size() - next) + " not shown", Look::kSoft);
  }
  return lines;
}

std::vector<Line> clients(const View& view, std::size_t most) {
  std::vector<Client> ordered = view.state->clients;
  const auto sort_by = [&](auto field) {
    std::ranges::stable_sort(ordered, std::greater<>(), field);
  };
  if (view.sort == SortBy::kWork) sort_by(&Client::work);
  if (view.sort == SortBy::kRequests) sort_by(&Client::requests);
  if (view.sort == SortBy::kInFlight) sort_by(&Client::in_flight);
  const auto look = [&](SortBy sort) { return view.sort == sort ? Look::kStrong : Look::kSoft; };
  Line head;
  head.add("CLIENT", Look::kStrong).right("connection", 40, Look::kSoft);
  head.right("requests", 54, look(SortBy::kRequests))
      .right("in flight", 66, look(SortBy::kInFlight));
  head.right("work", 79, look(SortBy::kWork));
  std::vector<Line> lines{head};
  for (const Client& client : ordered) {
    if (lines.size() >= most) break;
    Line line;
    line.add(client.peer.empty() ? "unknown" : client.peer);
    line.cut_at(30);
    line.right(std::to_string(client.connection), 40).right(in_groups(client.requests), 54);
    line.right(in_groups(client.in_flight), 66).right(duration_in_words(client.work), 79);
    lines.push_back(line);
  }
  return lines;
}

std::string clock_time(double time) {
  const auto seconds = static_cast<std::time_t>(std::clamp(time, 0.0, 2.5e11));
  std::tm parts{};
  char text[16] = "";
  if (localtime_r(&seconds, &parts) != nullptr) {
    (void)std::strftime(text, sizeof text, "%H:%M:%S", &parts);
  }
  return text;
}

// The last of them, the newest first.
std::vector<Line> log(const ServerState& state, std::size_t most) {
  std::vector<Line> lines;
  for (auto line = state.log.rbegin(); line != state.log.rend() && lines.size() < most; ++line) {
    Line shown;
    shown.add(clock_time(line->time) + " ", Look::kSoft);
    shown.add(line->level, line->level == "error" ? Look::kBad : Look::kWarning);
    shown.add(" " + line->text);
    if (line->count > 1) shown.add(" (" + in_groups(line->count) + " times)", Look::kSoft);
    lines.push_back(shown);
  }
  return lines;
}

Line keys(const View& view) {
  Line line;
  struct Key {
    const char* key;
    const char* name;
    SortBy sort;
  };
  line.add("sort by ", Look::kSoft);
  for (const Key& key : {Key{"w", "work", SortBy::kWork}, Key{"r", "requests", SortBy::kRequests},
                         Key{"f", "in flight", SortBy::kInFlight}}) {
    line.add(key.key, Look::kStrong).add(" ");
    line.add(key.name, view.sort == key.sort ? Look::kReverse : Look::kSoft).add("   ");
  }
  return line.add("q", Look::kStrong).add(" quit", Look::kSoft);
}

void append(std::vector<Line>& to, const std::vector<Line>& lines) {
  to.insert(to.end(), lines.begin(), lines.end());
}

// How many lines each part gets of those there are: one each in turn, while it wants more.
std::array<std::size_t, 3> share(std::size_t lines, const std::array<std::size_t, 3>& wants) {
  std::array<std::size_t, 3> gets{};
  while (lines > 0 && gets != wants) {
    for (std::size_t i = 0; i < wants.size() && lines > 0; ++i) {
      if (gets[i] == wants[i]) continue;
      ++gets[i];
      --lines;
    }
  }
  return gets;
}

void add_body(const View& view, Size size, std::vector<Line>& lines) {
  const ServerState& state = *view.state;
  lines.insert(lines.end(), {rates(view), sparkline(view)});
  add_amounts(state, lines);
  constexpr std::size_t kOthers = 3;  // blank lines before two of the parts, and the keys
  std::size_t left = kPlenty;
  // What is no screen may be searched line by line.
  const std::size_t across =
      size.height == kAnyHeight ? 1 : std::max<std::size_t>(1, size.width / kWorkerWidth);
  if (size.height != kAnyHeight) left = size.height - std::min(size.height, lines.size() + kOthers);
  const std::size_t want_log = state.log.empty() ? 0 : state.log.size() + 1;
  const auto [for_workers, for_clients, for_log] =
      share(left, {workers(state, across, kPlenty).size(), state.clients.size() + 1, want_log});
  lines.emplace_back();
  append(lines, workers(state, across, for_workers));
  lines.emplace_back();
  append(lines, clients(view, for_clients));
  lines.emplace_back();
  if (for_log > 1) append(lines, log(state, for_log - 1));
}

}  // namespace

std::vector<Line> render(const View& view, Size size) {
  std::vector<Line> lines{title(view, size.width), alarm(view)};
  if (view.state) add_body(view, size, lines);
  if (size.height != kAnyHeight) {
    lines.resize(size.height - 1);
    lines.push_back(keys(view));
  }
  for (Line& line : lines) line.cut_at(size.width);
  return lines;
}

}  // namespace pool_server::views
