#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/snapshot_codec.h"

namespace pool_server {

// A snapshot in memory. It can hold so many bytes, and fails as a full disk does.
class SnapshotText final : public SnapshotFile {
 public:
  explicit SnapshotText(std::string text = {}, std::size_t room = SIZE_MAX)
      : text_(std::move(text)), room_(room) {}

  std::uint64_t size() const override { return text_.size(); }
  bool write(std::uint64_t at, std::string_view bytes) override {
    const std::size_t fitting = std::min<std::size_t>(bytes.size(), room_ - std::min(room_, at));
    if (fitting > 0) {
      text_.resize(std::max<std::size_t>(text_.size(), at + fitting));
      std::memcpy(text_.data() + at, bytes.data(), fitting);
    }
    longest_write_ = std::max(longest_write_, fitting);
    return fitting == bytes.size();
  }
  void read(std::uint64_t at, std::span<char> to) const override {
    longest_read_ = std::max(longest_read_, to.size());
    std::memcpy(to.data(), std::string_view(text_).substr(at, to.size()).data(), to.size());
  }

  const std::string& text() const { return text_; }
  std::size_t longest_write() const { return longest_write_; }
  std::size_t longest_read() const { return longest_read_; }

 private:
  std::string text_;
  std::size_t room_;
  std::size_t longest_write_ = 0;
  mutable std::size_t longest_read_ = 0;
};

struct Snapshot {
  std::vector<std::uint64_t> totals;
  std::vector<CarriedConnection> connections;

  bool operator==(const Snapshot&) const = default;
};

inline std::string encode(const Snapshot& snapshot) {
  SnapshotText file;
  SnapshotWriter writer(file, snapshot.totals);
  bool written = true;
  for (const CarriedConnection& connection : snapshot.connections) {
    written = writer.add(connection) && written;
  }
  return writer.finish() && written ? file.text() : std::string();
}

// Nullopt, with the reason in `fault`, when any part of it cannot be used.
inline std::optional<Snapshot> decode(std::string_view bytes, std::string& fault) {
  const SnapshotText file{std::string(bytes)};
  SnapshotReader reader(file);
  Snapshot snapshot{reader.totals(), {}};
  CarriedConnection connection;
  bool sense = true;
  for (auto found = reader.next(connection); found != SnapshotReader::Found::kEnd;
       found = reader.next(connection)) {
    sense = sense && found == SnapshotReader::Found::kConnection;
    snapshot.connections.push_back(std::move(connection));
  }
  fault = sense ? reader.fault() : "a connection in it makes no sense";
  return fault.empty() ? std::optional(std::move(snapshot)) : std::nullopt;
}

}  // namespace pool_server
