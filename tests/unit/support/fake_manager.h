#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "support/descriptors.h"
#include "support/waiting.h"
#include "sys/thread.h"

namespace pool_server {

// A service manager that listens to its service, stores descriptors and answers barriers.
class FakeManager {
 public:
  explicit FakeManager(bool keeps = true)
      : keeps_(keeps), socket_(make_socket()), thread_("manager", [this] { listen(); }) {}
  FakeManager(const FakeManager&) = delete;
  FakeManager& operator=(const FakeManager&) = delete;
  ~FakeManager() {
    const UniqueFd sender(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const sockaddr_un to = address();
    (void)::sendto(sender.get(), "END", 3, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  }

  std::vector<std::string> heard() {
    const std::lock_guard lock(mutex_);
    return heard_;
  }
  // What it has stored, that is.
  bool is_told_to_remove() {
    return eventually([this] {
      return std::ranges::any_of(heard(), [](const std::string& message) {
        return message.find("FDSTOREREMOVE=1") != std::string::npos;
      });
    });
  }
  std::vector<UniqueFd> take_stored() {
    const std::lock_guard lock(mutex_);
    return std::exchange(stored_, {});
  }

 private:
  sockaddr_un address() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = directory_.file("socket");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
  }
  UniqueFd make_socket() const {
    UniqueFd fd = checked_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    const sockaddr_un at = address();
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
      throw_errno("bind");
    }
    return fd;
  }

  void listen() {
    for (;;) {
      std::array<char, 1024> text{};
      alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
      iovec part{text.data(), text.size()};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t size = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
      if (size < 0) continue;
      UniqueFd passed;  // of a barrier: the service waits until it is closed
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message)) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
        passed = UniqueFd(fd);
      }
      const std::string state(text.data(), static_cast<std::size_t>(size));
      if (state == "END") return;
      const std::lock_guard lock(mutex_);
      heard_.push_back(state);
      if (state.find("FDSTOREREMOVE=1") != std::string::npos) stored_.clear();
      if (keeps_ && state.find("FDSTORE=1") != std::string::npos) {
        stored_.push_back(std::move(passed));
      }
    }
  }

  const bool keeps_;
  const TemporaryDirectory directory_;
  const UniqueFd socket_;
  const ScopedVariable variable_{"NOTIFY_SOCKET", directory_.file("socket")};
  std::mutex mutex_;
  std::vector<std::string> heard_;
  std::vector<UniqueFd> stored_;
  Thread thread_;
};

}  // namespace pool_server
