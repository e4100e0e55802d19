#pragma once

namespace pool_server::views {

// Whether standard input and output are a terminal, and one on which text can be placed.
bool has_terminal();

}  // namespace pool_server::views
