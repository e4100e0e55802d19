#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
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

  bool operator==(const CarriedConnection&) const = default;
};

struct Snapshot {
  std::vector<std::uint64_t> totals;  // see totals_of(): counters that must not fall back to zero
  std::vector<CarriedConnection> connections;

  bool operator==(const Snapshot&) const = default;
};

// The format, all integers little-endian:
//
//   magic      "poolsnap"
//   version    u32
//   length     u64, of the payload
//   checksum   u64, FNV-1a of the payload
//   payload    a record of the totals; the number of connections, u32; a record for each
//
// Each record begins with its length (u32), so that a reader skips fields that it does not know and
// gives those that are missing their default: what an older release wrote is read. The version
// changes only when that is not enough, and a higher one is refused.
inline constexpr std::uint32_t kSnapshotVersion = 1;

std::string encode(const Snapshot& snapshot);

// Nullopt, with the reason in `fault`, for anything but a whole and sound snapshot. Input may be
// anything: every length in it is checked.
std::optional<Snapshot> decode(std::string_view bytes, std::string_view& fault);

}  // namespace pool_server
