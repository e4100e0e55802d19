#include "views/server_state.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "views/plain_text.h"

namespace pool_server::views {

namespace {

using Json = nlohmann::json;

// Neither a screen nor a server has more; who sends more is none.
constexpr std::size_t kMost = 10'000;

const Json kNothing;

const Json& at(const Json& object, const char* name) {
  if (!object.is_object()) return kNothing;
  const auto found = object.find(name);
  return found == object.end() ? kNothing : *found;
}

std::string text(const Json& object, const char* name) {
  const Json& found = at(object, name);
  return found.is_string() ? plain_text(found.get_ref<const std::string&>()) : "";
}

// What is larger than any number that there could be is none: who shows it goes on computing.
constexpr double kLargest = 9.0e15;

std::optional<double> number(const Json& found) {
  if (!found.is_number()) return std::nullopt;
  const auto value = found.get<double>();
  return std::abs(value) <= kLargest ? std::optional(value) : std::nullopt;
}

std::optional<std::uint64_t> count(const Json& found) {
  if (found.is_number_unsigned()) return found.get<std::uint64_t>();
  const std::optional<double> value = number(found);
  if (!value || *value < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*value);
}

double number_or_0(const Json& object, const char* name) {
  return number(at(object, name)).value_or(0);
}

std::uint64_t count_or_0(const Json& object, const char* name) {
  return count(at(object, name)).value_or(0);
}

// Calls `take` with each object in the list of that name.
template <typename Take>
void each(const Json& object, const char* name, Take take) {
  const Json& list = at(object, name);
  if (!list.is_array()) return;
  std::size_t left = kMost;
  for (const Json& item : list) {
    if (left-- == 0) break;
    if (item.is_object()) take(item);
  }
}

Json parse(std::string_view json) {
  // Nothing is thrown for what is malformed, and nothing is quoted from it.
  Json parsed = Json::parse(json, nullptr, false);
  if (parsed.is_discarded() || !parsed.is_object()) {
    throw std::invalid_argument("its answer is not that of a pool-server");
  }
  if (number(at(parsed, "format")) != 1) {
    throw std::invalid_argument("it speaks another format than this program");
  }
  return parsed;
}

ServerState::Percentiles percentiles(const Json& of) {
  return {number(at(of, "p50")), number(at(of, "p99")), number(at(of, "max"))};
}

}  // namespace

ServerState parse_state(std::string_view json) {
  const Json from = parse(json);
  ServerState state;
  state.version = text(from, "version");
  state.handler = text(from, "handler");
  state.state = text(from, "state");
  state.not_ready_because = text(from, "not_ready_because");
  state.ready = at(from, "ready") == Json(true);
  state.pid = count_or_0(from, "pid");
  state.restarts_survived = count_or_0(from, "restarts_survived");
  state.now = number_or_0(from, "now");
  state.started = number_or_0(from, "started");
  state.queue_depth = count_or_0(at(from, "queue"), "depth");
  state.queue_capacity = count_or_0(at(from, "queue"), "capacity");
  each(from, "workers", [&](const Json& worker) {
    state.workers.push_back({text(worker, "name"), text(worker, "state"), count(at(worker, "task")),
                             count(at(worker, "connection")), number(at(worker, "for_seconds"))});
  });
  state.workers_min = count_or_0(from, "workers_min");
  state.workers_max = count_or_0(from, "workers_max");
  const Json& connections = at(from, "connections");
  state.connections = count_or_0(connections, "open");
  state.connection_limit = count_or_0(connections, "limit");
  state.carried = count_or_0(connections, "carried");
  each(connections, "greediest", [&](const Json& client) {
    state.clients.push_back({text(client, "peer"), count_or_0(client, "connection"),
                             count_or_0(client, "requests"), count_or_0(client, "in_flight"),
                             number_or_0(client, "work_seconds")});
  });
  state.wait = percentiles(at(from, "wait"));
  state.run = percentiles(at(from, "run"));
  each(from, "log", [&](const Json& line) {
    state.log.push_back({number_or_0(line, "time"), text(line, "level"), text(line, "event"),
                         text(line, "text"), count(at(line, "count")).value_or(1)});
  });
  return state;
}

std::vector<HistoryRow> parse_history(std::string_view json) {
  const Json from = parse(json);
  const double step = number_or_0(from, "step");
  if (!(step > 0)) throw std::invalid_argument("its history has no step");

  std::map<std::string, std::size_t> places;
  const Json& columns = at(from, "columns");
  for (std::size_t i = 0; columns.is_array() && i < std::min(columns.size(), kMost); ++i) {
    if (columns[i].is_string()) places[columns[i].get<std::string>()] = i;
  }
  if (!places.contains("time")) throw std::invalid_argument("its history has no times");

  std::vector<HistoryRow> rows;
  const Json& list = at(from, "rows");
  for (std::size_t i = 0; list.is_array() && i < std::min(list.size(), kMost); ++i) {
    const auto value = [&, &row = list[i]](const char* name) -> std::optional<double> {
      const auto place = places.find(name);
      if (place == places.end() || !row.is_array() || place->second >= row.size()) return {};
      return number(row[place->second]);
    };
    const std::optional<double> time = value("time");
    if (!time) continue;
    rows.push_back({*time, step, value("ok").value_or(0), value("error").value_or(0),
                    value("timeout").value_or(0), value("shed").value_or(0),
                    value("crashed").value_or(0)});
  }
  return rows;
}

}  // namespace pool_server::views
