#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

#include "support/descriptors.h"
#include "support/snapshot_text.h"
#include "sys/fd_channel.h"
#include "sys/memfd.h"
#include "sys/socket.h"

namespace pool_server {

inline UniqueFd sealed_memfd(const std::string& content) {
  UniqueFd fd = make_memfd("test");
  REQUIRE(write_at(fd.get(), 0, content));
  seal(fd.get());
  return fd;
}

// A channel in which these descriptors wait, one a message, and the two ends of a connection.
struct Estate {
  FdChannel channel = FdChannel::make();
  std::pair<UniqueFd, UniqueFd> connection = socket_pair(/*flags=*/0);

  CarriedConnection state() const {
    CarriedConnection state;
    state.cookie = socket_cookie(connection.first.get());
    return state;
  }
  void leave(int fd) const {
    const int fds[] = {fd};
    REQUIRE(send_fds(channel.in.get(), fds));
  }
  void leave_snapshot(std::vector<CarriedConnection> connections) const {
    leave(sealed_memfd(encode({{}, std::move(connections)})).get());
  }
  bool client_sees_the_end() const {
    char byte = 0;
    return ::recv(connection.second.get(), &byte, 1, MSG_DONTWAIT) == 0;
  }
};

}  // namespace pool_server
