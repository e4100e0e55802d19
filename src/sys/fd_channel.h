#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sys/unique_fd.h"

namespace pool_server {

// A socket pair in which descriptors wait for whoever reads the other end, even after the sender
// has gone. Nothing here blocks.
struct FdChannel {
  UniqueFd in;   // send_fds() and send_note() here
  UniqueFd out;  // read with an FdReader

  static FdChannel make();  // throws std::system_error
};

// SCM_MAX_FD of the kernel: more do not go into one message.
inline constexpr std::size_t kMaxFdsPerMessage = 253;
inline constexpr std::size_t kMaxNote = 64;  // bytes

// Queues duplicates of `fds` as one message. False: there is no room (descriptors in flight,
// RLIMIT_NOFILE; the socket's buffer), one of them cannot be sent, or nobody holds the other end.
bool send_fds(int channel, std::span<const int> fds);
// Queues a message of text alone, of at most kMaxNote bytes. False: as above.
bool send_note(int channel, std::string_view note);

struct FdMessage {
  std::vector<UniqueFd> fds;  // close-on-exec
  std::string note;           // a message with descriptors has one of a zero byte
  bool incomplete = false;    // there were more descriptors than this process may open
};

// Reads what waits in a channel from the start, and leaves it there: each message comes with
// duplicates of its descriptors, and whoever holds the same end can read it all again, also after
// this process has died. See SO_PEEK_OFF in socket(7).
class FdReader {
 public:
  explicit FdReader(int channel) : channel_(channel) {}
  // Nullopt: there are no more, or it is no channel. Throws std::system_error when it lacks memory.
  std::optional<FdMessage> next();

 private:
  int channel_;
  std::size_t offset_ = 0;  // bytes
};

// Takes all that waits in a channel out of it, and drops it.
void empty_channel(int channel);

}  // namespace pool_server
