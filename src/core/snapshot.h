#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/handler.h"

namespace pool_server {

// What a restart carries over to the next process: all that lives only in the memory of this one.
// The sockets themselves travel beside it and are named by their SO_COOKIE.

// One answer that is owed, in the order of the requests.
struct CarriedAnswer {
  enum class Kind : std::uint8_t {
    kRequest = 0,  // accepted and not computed: `text` is the request
    kReply = 1,    // computed, and waiting for its turn: `text` is the whole reply line
    kStats = 2,    // a STATS that waits for its turn
  };

  Kind kind = Kind::kRequest;
  Outcome outcome = Outcome::kOk;  // of kReply
  std::string text;

  bool operator==(const CarriedAnswer&) const = default;
};

struct CarriedConnection {
  std::uint64_t cookie = 0;         // SO_COOKIE of its socket
  std::uint64_t serial = 0;         // its name in the log
  bool end_of_input = false;        // the client has half-closed
  bool skipping_line = false;       // the rest of a line that is too long is to be skipped
  std::string partial_line;         // begun, not completed
  std::string undecoded;            // received, not cut into lines
  std::string unsent;               // due, not taken by the kernel
  std::vector<CarriedAnswer> owed;  // in order

  // Comes the connection through a proxy (see core/proxy_header.h) that speaks for another?
  enum class Proxied : std::uint8_t { kNo = 0, kHeaderAwaited = 1, kClientKnown = 2 };
  Proxied proxied = Proxied::kNo;
  std::string client;  // what has come of the header; or the client's address in network order
  std::uint16_t client_port = 0;

  bool operator==(const CarriedConnection&) const = default;
};

}  // namespace pool_server
