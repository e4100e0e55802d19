#include "server/inheritance.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <new>
#include <string_view>
#include <system_error>
#include <utility>

#include "server/handover.h"
#include "sys/socket.h"

namespace pool_server {

namespace {

std::optional<std::size_t> number_sent(std::string_view note) {
  if (!note.starts_with(Handover::kSentNote)) return std::nullopt;
  note.remove_prefix(Handover::kSentNote.size());
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(note.data(), note.data() + note.size(), number);
  if (error != std::errc() || end != note.data() + note.size()) return std::nullopt;
  return number;
}

// False: it is not, and its client sees the end.
bool make_usable(int socket) {
  try {
    set_nonblocking(socket);
    return true;
  } catch (const std::system_error&) {
    end_in_good_order(socket);
    return false;
  }
}

}  // namespace

Inheritance::Inheritance(int channel) {
  receive(channel);
  open_snapshot();
}

void Inheritance::receive(int channel) {
  FdReader reader(channel);
  bool first = true;
  while (auto message = reader.next()) {
    if (const auto number = number_sent(message->note)) sent_ = number;
    for (UniqueFd& fd : message->fds) {
      if (std::exchange(first, false)) {
        memfd_ = std::move(fd);
        continue;
      }
      ++received_;
      const std::uint64_t cookie = socket_cookie(fd.get());
      if (cookie == 0) {  // no socket at all
        ++unknown_;
      } else {
        sockets_.try_emplace(cookie, std::move(fd));
      }
    }
    if (first && message->incomplete) {
      errno = EMFILE;
      throw_errno("cannot take over the connections of the last process");
    }
  }
}

void Inheritance::open_snapshot() {
  if (!memfd_.valid()) {
    fault_ = "it is missing";
    return;
  }
  std::string_view fault;
  if (!sealed_size(memfd_.get(), fault)) {
    fault_ = fault;
    return;
  }
  file_.emplace(memfd_.get());
  snapshot_.emplace(*file_);
}

std::string Inheritance::fault() const {
  return snapshot_ ? std::string(snapshot_->fault()) : fault_;
}

const std::vector<std::uint64_t>& Inheritance::totals() const {
  static const std::vector<std::uint64_t> kNone;
  return snapshot_ ? snapshot_->totals() : kNone;
}

std::optional<Inheritance::Connection> Inheritance::next() {
  while (snapshot_) {
    Connection connection;
    auto found = SnapshotReader::Found::kSenseless;
    try {
      found = snapshot_->next(connection.state);
    } catch (const std::bad_alloc&) {  // no memory for this one
    }
    if (found == SnapshotReader::Found::kEnd) break;
    if (found == SnapshotReader::Found::kSenseless) {
      ++senseless_;
      continue;
    }
    auto socket = sockets_.extract(connection.state.cookie);
    if (socket.empty()) {
      ++without_socket_;
      continue;
    }
    connection.socket = std::move(socket.mapped());
    if (make_usable(connection.socket.get())) return connection;
    ++unknown_;
  }
  end_strangers();
  return std::nullopt;
}

// Whatever else holds them (a store that was not emptied), their clients are to see the end.
void Inheritance::end_strangers() {
  for (const auto& [cookie, socket] : sockets_) end_in_good_order(socket.get());
  unknown_ += sockets_.size();
  sockets_.clear();
}

std::size_t Inheritance::missing() const {
  if (!sent_) return without_socket_;
  return *sent_ - std::min(*sent_, received_);
}

void Inheritance::settle(int channel) {
  empty_channel(channel);
}

}  // namespace pool_server
