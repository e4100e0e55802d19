#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// The service manager's end of sd_notify(3), "$NOTIFY_SOCKET". Not by sd_notify(), which waits for
// a manager that does not read, and takes a descriptor each time when there may be none left: one
// socket, made once, that is never waited for.
//
// What the manager does not take is kept and comes first the next time. Of messages that begin with
// the same NAME= only the newest is kept (each FDSTOREREMOVE=1 is one of its own), so that what
// waits is bounded. What it refuses, as when it has gone, nobody waits for: that is tried again
// with the next message.
class NotifySocket {
 public:
  // `address` is a path, or "@" and a name in the abstract namespace. Throws std::system_error when
  // there is no socket to be had.
  explicit NotifySocket(std::string address);

  // Can there be a manager at that address?
  static bool is_address(std::string_view address) { return parse(address).has_value(); }
  const std::string& address() const { return address_; }

  void send(std::string state);
  // Sends what waits, as far as the manager takes it. True: nothing waits any more but what it
  // refused.
  bool flush();

  // Waits until `deadline` (µs of the monotonic clock) to send, after what waits, `state` with a
  // duplicate of `fd`. False: it was not taken, or refused.
  bool send_with_fd(std::string_view state, int fd, std::int64_t deadline);

 private:
  struct Address {
    sockaddr_un bytes{};
    socklen_t size = 0;
  };
  enum class Outcome : unsigned char { kSent, kLater, kRefused, kNever };

  static std::optional<Address> parse(std::string_view address);
  Outcome try_to_send(std::string_view state, int fd);

  std::string address_;
  std::optional<Address> manager_;
  UniqueFd socket_;
  std::vector<std::string> waiting_;  // in the order to be sent
  bool refused_ = false;              // the first of them was
};

}  // namespace pool_server
