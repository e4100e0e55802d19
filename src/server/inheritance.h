#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/snapshot_codec.h"
#include "server/memfd_snapshot.h"
#include "sys/fd_channel.h"
#include "sys/unique_fd.h"

namespace pool_server {

// What an earlier process has left with the service manager, see server/handover.h. It is read and
// left where it is: until settle(), whatever happens to this process, the next one finds it whole.
class Inheritance {
 public:
  // Throws when this process cannot read now what may be sound (no descriptor, memory, EIO), so
  // that its start fails and the next one tries.
  explicit Inheritance(int channel);
  Inheritance(const Inheritance&) = delete;
  Inheritance& operator=(const Inheritance&) = delete;

  // Why the snapshot cannot be used, from here on; empty: it can.
  std::string fault() const;
  const std::vector<std::uint64_t>& totals() const;

  struct Connection {
    UniqueFd socket;  // non-blocking
    CarriedConnection state;
  };
  // The next connection. What is not as it should be is passed over and counted below. At the end,
  // nullopt: whatever is left of the sockets then is ended.
  std::optional<Connection> next();

  // Complete after next() has ended.
  std::size_t missing() const;                          // sockets that did not come along
  std::size_t senseless() const { return senseless_; }  // connections that made no sense
  std::size_t unknown() const { return unknown_; }  // descriptors that nothing usable is told about

  // The connections are this process's from now on: nobody finds them in the channel any more.
  static void settle(int channel);

 private:
  void receive(int channel);
  void open_snapshot();
  void end_strangers();

  UniqueFd memfd_;
  std::optional<MemfdSnapshot> file_;
  std::optional<SnapshotReader> snapshot_;
  std::string fault_;
  std::unordered_map<std::uint64_t, UniqueFd> sockets_;  // by cookie
  std::size_t received_ = 0;
  std::optional<std::size_t> sent_;  // if the earlier process has told
  std::size_t without_socket_ = 0;
  std::size_t senseless_ = 0;
  std::size_t unknown_ = 0;
};

}  // namespace pool_server
