#pragma once

#include <utility>

namespace pool_server {

// Owns a file descriptor: closed exactly once, on every path.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// Throws std::system_error from errno, saying what could not be done.
[[noreturn]] void throw_errno(const char* what);

// Opens /dev/null for each of stdin, stdout and stderr that is closed: the next descriptor this
// process opens must not be taken for one of them.
void fill_standard_descriptors();

// The result of a call that makes a descriptor; throws when it failed.
UniqueFd checked_fd(int fd, const char* what);

}  // namespace pool_server
