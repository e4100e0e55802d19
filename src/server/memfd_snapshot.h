#pragma once

#include "core/snapshot_codec.h"
#include "sys/memfd.h"

namespace pool_server {

// A snapshot in a memfd, which is the caller's.
class MemfdSnapshot final : public SnapshotFile {
 public:
  explicit MemfdSnapshot(int fd) : fd_(fd) {}

  std::uint64_t size() const override { return file_size(fd_); }
  // What fails once costs its connection, or everybody, so it is tried again.
  bool write(std::uint64_t at, std::string_view bytes) override {
    constexpr int kTries = 3;
    for (int tried = 0; tried < kTries; ++tried) {
      if (write_at(fd_, at, bytes)) return true;
    }
    return false;
  }
  void read(std::uint64_t at, std::span<char> to) const override { read_at(fd_, at, to); }

 private:
  int fd_;
};

}  // namespace pool_server
