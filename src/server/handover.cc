#include "server/handover.h"

#include <algorithm>
#include <exception>
#include <system_error>

#include "core/ids.h"
#include "sys/memory.h"
#include "sys/service_manager.h"

namespace pool_server {

namespace {

// Longer than a manager takes that is well, short enough for a stop.
constexpr TimeUs kManagerTimeout = 1'000'000;

}  // namespace

const std::string Handover::kName = "pool-server-connections";

Handover::Handover(FdChannel channel, UniqueFd memfd)
    : channel_(std::move(channel)),
      memfd_(std::move(memfd)),
      file_(std::make_unique<MemfdSnapshot>(memfd_.get())) {}

std::optional<Handover> Handover::offer() {
  if (!service_manager::is_listening()) return std::nullopt;
  try {
    FdChannel channel = FdChannel::make();
    UniqueFd memfd = make_memfd("pool-server-snapshot");
    // Where nothing can be written, that has to be known before work is left undone for it.
    if (!MemfdSnapshot(memfd.get()).write(0, "\n")) return std::nullopt;
    if (service_manager::store_fd(channel.out.get(), kName, kManagerTimeout)) {
      // From here on the manager alone can have that end: if it has not kept it, the send fails.
      channel.out.reset();
      const int fds[] = {memfd.get()};
      if (send_fds(channel.in.get(), fds)) return Handover(std::move(channel), std::move(memfd));
    }
  } catch (const std::exception&) {  // out of descriptors or memory
  }
  // It may have kept it all the same, or do so yet: the next process is not to find it.
  service_manager::remove_stored_fds(kName);
  return std::nullopt;
}

void Handover::begin(const std::vector<std::uint64_t>& totals, std::size_t most) {
  sockets_.reserve(most);
  snapshot_ = std::make_unique<SnapshotWriter>(*file_, totals);
}

bool Handover::add(const CarriedConnection& state, int socket) {
  if (state.cookie == 0) return false;  // no name, by which the next process could know it
  sockets_.push_back(socket);
  if (snapshot_->add(state)) return true;
  sockets_.pop_back();
  return false;
}

std::vector<bool> Handover::send() {
  const int channel = channel_.in.get();
  auto sent = once_there_is_memory([this] { return std::vector<bool>(sockets_.size(), false); });
  if (complete()) {
    sent = once_there_is_memory([&] {  // it takes some before it sends any
      return send_all(sockets_, kMaxFdsPerMessage,
                      [channel](std::span<const int> fds) { return send_fds(channel, fds); });
    });
    // If there is no room for it, the next process can only take for lost what it misses.
    (void)send_note(channel,
                    std::string(kSentNote) + std::to_string(std::ranges::count(sent, true)));
  } else {
    service_manager::remove_stored_fds(kName);
  }
  return sent;
}

// What fails once costs everybody, so it is tried again.
bool Handover::complete() {
  constexpr int kTries = 3;
  for (int tried = 0; tried < kTries; ++tried) {
    try {
      if (snapshot_->finish()) {
        seal(memfd_.get());
        fault_.clear();
        return true;
      }
      fault_ = "no room for the snapshot";
    } catch (const std::exception& error) {
      fault_ = error.what();
    }
  }
  return false;
}

std::vector<bool> send_all(std::span<const int> fds, std::size_t most,
                           const std::function<bool(std::span<const int>)>& send) {
  std::vector<bool> sent(fds.size(), false);
  std::size_t bunch = most;
  std::size_t next = 0;
  while (next < fds.size()) {
    const std::size_t count = std::min(bunch, fds.size() - next);
    if (send(fds.subspan(next, count))) {
      std::fill_n(sent.begin() + static_cast<std::ptrdiff_t>(next), count, true);
      next += count;
      bunch = std::min(2 * bunch, most);
    } else if (count > 1) {
      bunch = count / 2;
    } else {
      ++next;  // this one cannot be sent, others may
      bunch = 1;
    }
  }
  return sent;
}

}  // namespace pool_server
