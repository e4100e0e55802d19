#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "views/canvas.h"
#include "views/history.h"
#include "views/server_state.h"

namespace pool_server::views {

enum class SortBy : unsigned char { kWork, kRequests, kInFlight };

// All that `top` shows.
struct View {
  std::string address;
  std::optional<ServerState> state;  // the last that is known; none: none yet
  History history;
  double now = 0;       // the server's clock
  std::string fault;    // why it cannot be reached, in plain text; empty: it can
  double lost_for = 0;  // since when it cannot, in seconds
  SortBy sort = SortBy::kWork;
};

struct Size {
  std::size_t width = 80;
  std::size_t height = 24;
};
// For what is no screen: as many lines as it takes, and no keys.
inline constexpr std::size_t kAnyHeight = 0;

// The lines to show, no longer and no more than the size allows. Pure.
std::vector<Line> render(const View& view, Size size);

}  // namespace pool_server::views
