#include "net/connection_table.h"

#include <utility>

namespace pool_server {

Connection& ConnectionTable::add(UniqueFd&& socket, ConnectionHost& host) {
  if (free_.empty()) {
    if (slots_.size() == slots_.capacity()) slots_.reserve(2 * slots_.size() + 1);
    free_.reserve(slots_.capacity());
    buried_.reserve(slots_.capacity());
    slots_.emplace_back();
    free_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
  }
  const std::uint32_t index = free_.back();
  Slot& slot = slots_[index];
  slot.connection = std::make_unique<Connection>(ConnectionId{index, slot.generation + 1},
                                                 std::move(socket), host);
  ++slot.generation;
  free_.pop_back();
  ++open_;
  return *slot.connection;
}

Connection* ConnectionTable::find(ConnectionId id) {
  if (id.slot >= slots_.size()) return nullptr;
  Slot& slot = slots_[id.slot];
  if (slot.connection == nullptr || slot.generation != id.generation) return nullptr;
  return slot.connection->closed() ? nullptr : slot.connection.get();
}

void ConnectionTable::bury(Connection& connection) {
  buried_.push_back(connection.id().slot);
  --open_;
}

void ConnectionTable::reap() {
  for (const std::uint32_t index : buried_) {
    slots_[index].connection.reset();
    free_.push_back(index);
  }
  buried_.clear();
}

void ConnectionTable::clear() {
  slots_.clear();
  free_.clear();
  buried_.clear();
  open_ = 0;
}

}  // namespace pool_server
