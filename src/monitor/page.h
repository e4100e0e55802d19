#pragma once

#include <string_view>

namespace pool_server {

// page.html, as it was when the server was built.
extern const std::string_view kPage;
// What a browser may do with it, as a Content-Security-Policy: run and apply just what is in it,
// and talk to nobody but this server.
extern const std::string_view kPagePolicy;

}  // namespace pool_server
