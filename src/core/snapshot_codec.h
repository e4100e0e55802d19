#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/snapshot.h"

namespace pool_server {

// How a snapshot is written down, piece by piece, and read again: neither side ever holds more than
// one connection and a small buffer.
//
// The format, all integers little-endian:
//
//   magic      "poolsnap"
//   version    u32
//   length     u64, of the payload
//   checksum   u64, FNV-1a of the payload
//   payload    a record of the totals; the number of connections, u32; a record for each
//
// Each record begins with its length (u32), so that a reader skips fields that it does not know and
// gives those that are missing their default: what an older release wrote is read, and what follows
// the last record is skipped. The version changes only when that is not enough, and a higher one is
// refused.
inline constexpr std::uint32_t kSnapshotVersion = 1;

// Where a snapshot is kept. (This floor makes no system call.)
class SnapshotFile {
 public:
  virtual std::uint64_t size() const = 0;
  // False: not all of it could be written; a part may have been.
  virtual bool write(std::uint64_t at, std::string_view bytes) = 0;
  // Fills `to`, which ends within size(). Throws when that cannot be done.
  virtual void read(std::uint64_t at, std::span<char> to) const = 0;

 protected:
  ~SnapshotFile() = default;
};

// Writes a snapshot into an empty file.
class SnapshotWriter {
 public:
  // `totals`: see totals_of(); counters that must not fall back to zero.
  SnapshotWriter(SnapshotFile& file, const std::vector<std::uint64_t>& totals);

  // False: there was no room for this one, or it is larger than a record may be. The snapshot does
  // not have it, and can be added to.
  bool add(const CarriedConnection& connection);
  // Makes it whole. False: it is none. Reads it all once; passes on what that throws.
  bool finish();

 private:
  SnapshotFile& file_;
  std::string buffer_;
  bool begun_ = false;
  std::uint64_t count_at_ = 0;
  std::uint64_t end_ = 0;
  std::uint32_t count_ = 0;
};

// Reads what may be anything: every length in it is checked. Passes on what SnapshotFile::read
// throws.
class SnapshotReader {
 public:
  // Reads the whole file once, for its checksum.
  explicit SnapshotReader(const SnapshotFile& file);

  // Why the snapshot, or what is left of it, cannot be used; empty: it can.
  std::string_view fault() const { return fault_; }
  const std::vector<std::uint64_t>& totals() const { return totals_; }
  // Of connections, those that make no sense included.
  std::uint32_t count() const { return count_; }

  enum class Found : unsigned char {
    kConnection,
    kSenseless,  // values that no release has written; the ones after it are not concerned
    kEnd,
  };
  // The next connection. After an exception (no memory for this one) the next call goes on with the
  // one behind it.
  Found next(CarriedConnection& connection);

 private:
  class Input;

  void open();
  // Bytes of the file, by way of a window on it.
  void read(std::uint64_t at, std::span<char> to);

  const SnapshotFile& file_;
  const std::uint64_t size_;
  std::string window_;
  std::uint64_t window_at_ = 0;
  std::string_view fault_;
  std::vector<std::uint64_t> totals_;
  std::uint32_t count_ = 0;
  std::uint32_t left_ = 0;
  std::uint64_t at_ = 0;  // the next record
};

}  // namespace pool_server
