#include "server/handover.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <system_error>
#include <unordered_map>

#include "sys/memfd.h"
#include "sys/service_manager.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

// Longer than a manager takes that is well, short enough for a stop.
constexpr TimeUs kManagerTimeout = 1'000'000;
// Far above what a process can have owed its clients; a corrupt size must not be allocated.
constexpr std::size_t kMaxSnapshot = std::size_t{1} << 36;  // bytes

// How many of `fds` could be queued.
std::size_t send_all(int channel, std::span<const int> fds) {
  std::size_t sent = 0;
  std::size_t bunch = kMaxFdsPerMessage;
  while (sent < fds.size()) {
    const auto next = fds.subspan(sent, std::min(bunch, fds.size() - sent));
    if (send_fds(channel, next)) {
      sent += next.size();
    } else if (next.size() == 1) {
      break;
    } else {
      bunch = next.size() / 2;  // a smaller one may still fit
    }
  }
  return sent;
}

}  // namespace

const std::string Handover::kName = "pool-server-connections";

std::optional<Handover> Handover::offer() {
  if (!service_manager::is_listening()) return std::nullopt;
  try {
    FdChannel channel = FdChannel::make();
    UniqueFd memfd = make_memfd("pool-server-snapshot");
    if (!service_manager::store_fd(channel.out.get(), kName, kManagerTimeout)) return std::nullopt;
    // From here on the manager alone can have that end: if it has not kept it, the send fails.
    channel.out.reset();
    const int fds[] = {memfd.get()};
    if (!send_fds(channel.in.get(), fds)) return std::nullopt;
    return Handover(std::move(channel), std::move(memfd));
  } catch (const std::system_error&) {  // out of descriptors or memory
    service_manager::remove_stored_fds(kName);
    return std::nullopt;
  }
}

std::size_t Handover::store(std::vector<CarriedConnection> connections,
                            const std::vector<int>& sockets, std::vector<std::uint64_t> totals) {
  const std::size_t stored = send_all(channel_.in.get(), sockets);
  connections.resize(stored);
  write_and_seal(memfd_.get(), encode({std::move(totals), std::move(connections)}));
  return stored;
}

Handover::Inheritance Handover::collect(UniqueFd channel) {
  Inheritance inheritance;
  std::vector<UniqueFd> fds;
  while (auto message = receive_fds(channel.get())) {
    std::move(message->begin(), message->end(), std::back_inserter(fds));
  }
  std::unordered_map<std::uint64_t, CarriedConnection> states;
  if (fds.empty()) {
    inheritance.fault = "it is missing";
    return inheritance;
  }
  std::optional<Snapshot> snapshot;
  if (const auto content = read_sealed(fds.front().get(), kMaxSnapshot)) {
    std::string_view fault;
    snapshot = decode(*content, fault);
    inheritance.fault = fault;
  } else {
    inheritance.fault = "it was not completed";
  }
  if (snapshot) {
    inheritance.totals = std::move(snapshot->totals);
    for (CarriedConnection& connection : snapshot->connections) {
      const std::uint64_t cookie = connection.cookie;
      states.emplace(cookie, std::move(connection));
    }
  }
  fds.erase(fds.begin());
  for (UniqueFd& fd : fds) {
    const auto state = states.find(socket_cookie(fd.get()));
    if (state == states.end()) {
      // Whatever else holds it (a store that was not emptied), the client is to see the end.
      shut_down_sending(fd.get());
      ++inheritance.unknown;
      continue;
    }
    set_nonblocking(fd.get());
    inheritance.connections.emplace_back(std::move(fd), std::move(state->second));
    states.erase(state);
  }
  inheritance.missing = states.size();
  return inheritance;
}

}  // namespace pool_server
