// Any bytes as what a server tells pool-server-views: they are refused in plain text, or
// understood, and then no more than a screen could show, nor anything but plain text.

#include "views/server_state.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>

#include "must.h"

namespace {

using namespace pool_server::views;

void must_be_plain(std::string_view text) {
  must(std::ranges::none_of(text, [](unsigned char byte) { return byte < 0x20 || byte == 0x7f; }));
}

template <typename Parse>
void refused_or_checked(Parse parse) {
  try {
    parse();
  } catch (const std::invalid_argument& fault) {
    must_be_plain(fault.what());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  refused_or_checked([&] {
    const ServerState state = parse_state(json);
    for (const auto& text : {state.version, state.handler, state.state, state.not_ready_because})
      must_be_plain(text);
    for (const auto& worker : state.workers) {
      must_be_plain(worker.name);
      must_be_plain(worker.state);
    }
    for (const auto& client : state.clients) must_be_plain(client.peer);
    for (const auto& line : state.log) {
      must_be_plain(line.level);
      must_be_plain(line.event);
      must_be_plain(line.text);
      must(std::isfinite(line.time));
    }
    must(std::isfinite(state.now) && std::isfinite(state.started));
  });
  refused_or_checked([&] {
    for (const HistoryRow& row : parse_history(json)) {
      for (const double value :
           {row.time, row.step, row.ok, row.error, row.timeout, row.shed, row.crashed}) {
        must(std::isfinite(value));
      }
    }
  });
  return 0;
}
