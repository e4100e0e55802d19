#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "core/ids.h"
#include "net/connection.h"

namespace pool_server {

// All connections, by id. Loop thread only.
class ConnectionTable {
 public:
  // Makes a connection in a free slot, under a generation that slot has not had. If it throws,
  // nothing has changed and the socket stays with the caller.
  Connection& add(UniqueFd&& socket, ConnectionHost& host);
  // Null when that connection has gone, whoever is in its slot now.
  Connection* find(ConnectionId id);
  // A connection was closed: it no longer counts, and its object goes at reap(). Neither takes any
  // memory.
  void bury(Connection& connection);
  void reap();  // end of the round
  // At the very end, when their host goes: without a word to it.
  void clear();

  std::size_t open() const { return open_; }
  std::size_t slots() const { return slots_.size(); }  // ids name slots below this

  template <class Visit>
  void for_each(Visit visit) {
    for_each_of(0, slots_.size(), visit);
  }
  // Of those in `count` slots from `first` on, as far as there are slots.
  template <class Visit>
  void for_each_of(std::size_t first, std::size_t count, Visit visit) {
    const std::size_t end = first + std::min(count, slots_.size() - std::min(first, slots_.size()));
    for (std::size_t i = first; i < end; ++i) {
      Connection* const connection = slots_[i].connection.get();
      if (connection != nullptr && !connection->closed()) visit(*connection);
    }
  }

 private:
  struct Slot {
    std::unique_ptr<Connection> connection;
    std::uint32_t generation = 0;
  };

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;    // of these two
  std::vector<std::uint32_t> buried_;  // each has room for all slots
  std::size_t open_ = 0;
};

}  // namespace pool_server
