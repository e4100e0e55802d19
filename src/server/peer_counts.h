#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "sys/socket_address.h"

namespace pool_server {

// How many connections each peer has. Loop thread only.
class PeerCounts {
 public:
  // Strong guarantee: where it throws, for lack of memory, nothing has changed.
  void add(std::uint32_t slot, const PeerKey& peer) {
    const auto count = counts_.try_emplace(peer, 0).first;
    try {
      peers_[slot] = peer;
    } catch (...) {
      if (count->second == 0) counts_.erase(count);
      throw;
    }
    ++count->second;
  }

  // No effect on a connection that was not added.
  void remove(std::uint32_t slot) {
    const auto peer = peers_.find(slot);
    if (peer == peers_.end()) return;
    const auto count = counts_.find(peer->second);
    if (--count->second == 0) counts_.erase(count);
    peers_.erase(peer);
  }

  std::size_t count(const PeerKey& peer) const {
    const auto found = counts_.find(peer);
    return found == counts_.end() ? 0 : found->second;
  }

  void clear() {
    counts_.clear();
    peers_.clear();
  }

 private:
  std::map<PeerKey, std::size_t> counts_;
  std::map<std::uint32_t, PeerKey> peers_;  // by slot
};

}  // namespace pool_server
