#pragma once

#include <string>
#include <vector>

namespace pool_server::bench {

// A request and the reply that a correct server gives, both with their line ends.
struct Exchange {
  std::string request;
  std::string reply;
};

// What clients ask for, over and over:
//   digest     the SHA-256 of lines of 20 to 60 bytes, each another
//   echo       the line itself, which is the hand-off and nothing else
//   spin       1 ms of a worker's time
//   memcached  `get` of one key, for orientation
// Throws std::invalid_argument for another name.
std::vector<Exchange> make_exchanges(const std::string& name);

}  // namespace pool_server::bench
