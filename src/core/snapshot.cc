#include "core/snapshot.h"

#include <utility>

namespace pool_server {

namespace {

constexpr std::string_view kMagic = "poolsnap";
constexpr std::size_t kHeaderSize = 8 + 4 + 8 + 8;  // magic, version, length, checksum

std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bit: offset basis and prime
  for (const char byte : bytes) {
    hash ^= static_cast<unsigned char>(byte);
    hash *= 0x100000001b3;
  }
  return hash;
}

class Writer {
 public:
  template <class Integer>
  void integer(Integer value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
      out_.push_back(static_cast<char>((static_cast<std::uint64_t>(value) >> (8 * i)) & 0xff));
    }
  }
  void text(std::string_view text) {
    integer(static_cast<std::uint32_t>(text.size()));
    out_.append(text);
  }
  std::string& bytes() { return out_; }

 private:
  std::string out_;
};

// Reads what is there. At the end, where an older release wrote no more, it gives zeros and empty
// texts; an end in the middle of something is told by truncated().
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <class Integer>
  Integer integer() {
    std::uint64_t value = 0;
    if (rest_.size() < sizeof(Integer)) {
      if (!rest_.empty()) truncate();
      return 0;
    }
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[i])) << (8 * i);
    }
    rest_.remove_prefix(sizeof(Integer));
    return static_cast<Integer>(value);
  }

  std::string_view text() {
    const auto size = integer<std::uint32_t>();
    if (rest_.size() < size) {
      truncate();
      return {};
    }
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return text;
  }

  bool at_end() const { return rest_.empty(); }
  bool truncated() const { return truncated_; }
  std::size_t left() const { return rest_.size(); }

 private:
  void truncate() {
    rest_ = {};
    truncated_ = true;
  }

  std::string_view rest_;
  bool truncated_ = false;
};

void write_connection(const CarriedConnection& connection, Writer& out) {
  Writer record;
  record.integer(connection.cookie);
  record.integer(connection.serial);
  record.integer(static_cast<std::uint8_t>(connection.end_of_input));
  record.integer(static_cast<std::uint8_t>(connection.skipping_line));
  record.text(connection.partial_line);
  record.text(connection.undecoded);
  record.text(connection.unsent);
  record.integer(static_cast<std::uint32_t>(connection.owed.size()));
  for (const CarriedAnswer& answer : connection.owed) {
    record.integer(static_cast<std::uint8_t>(answer.kind));
    record.integer(static_cast<std::uint8_t>(answer.outcome));
    record.text(answer.text);
  }
  out.text(record.bytes());
}

// False: a value that no release has written.
bool read_answer(Reader& in, CarriedAnswer& answer) {
  const auto kind = in.integer<std::uint8_t>();
  const auto outcome = in.integer<std::uint8_t>();
  answer.text = in.text();
  if (kind > static_cast<std::uint8_t>(CarriedAnswer::Kind::kStats)) return false;
  if (outcome > static_cast<std::uint8_t>(Outcome::kError)) return false;
  answer.kind = static_cast<CarriedAnswer::Kind>(kind);
  answer.outcome = static_cast<Outcome>(outcome);
  return true;
}

bool read_connection(std::string_view record, CarriedConnection& connection) {
  Reader in(record);
  connection.cookie = in.integer<std::uint64_t>();
  connection.serial = in.integer<std::uint64_t>();
  connection.end_of_input = in.integer<std::uint8_t>() != 0;
  connection.skipping_line = in.integer<std::uint8_t>() != 0;
  connection.partial_line = in.text();
  connection.undecoded = in.text();
  connection.unsent = in.text();
  const auto owed = in.integer<std::uint32_t>();
  for (std::uint32_t i = 0; i < owed; ++i) {
    if (in.at_end() || !read_answer(in, connection.owed.emplace_back())) return false;
  }
  return !in.truncated();
}

}  // namespace

std::string encode(const Snapshot& snapshot) {
  Writer totals;
  for (const std::uint64_t total : snapshot.totals) totals.integer(total);
  Writer payload;
  payload.text(totals.bytes());
  payload.integer(static_cast<std::uint32_t>(snapshot.connections.size()));
  for (const CarriedConnection& connection : snapshot.connections) {
    write_connection(connection, payload);
  }
  Writer out;
  out.bytes().append(kMagic);
  out.integer(kSnapshotVersion);
  out.integer(static_cast<std::uint64_t>(payload.bytes().size()));
  out.integer(checksum(payload.bytes()));
  out.bytes().append(payload.bytes());
  return std::move(out.bytes());
}

std::optional<Snapshot> decode(std::string_view bytes, std::string_view& fault) {
  fault = {};
  const auto refuse = [&fault](std::string_view reason) {
    fault = reason;
    return std::nullopt;
  };
  if (!bytes.starts_with(kMagic)) return refuse("it is not a snapshot");
  if (bytes.size() < kHeaderSize) return refuse("it is truncated");
  Reader header(bytes.substr(kMagic.size()));
  const auto version = header.integer<std::uint32_t>();
  const auto length = header.integer<std::uint64_t>();
  const auto sum = header.integer<std::uint64_t>();
  if (version == 0 || version > kSnapshotVersion) return refuse("its version is not known");
  if (header.left() != length) return refuse("it is truncated");
  const std::string_view payload = bytes.substr(bytes.size() - length);
  if (checksum(payload) != sum) return refuse("its checksum is wrong");

  Snapshot snapshot;
  Reader in(payload);
  Reader totals(in.text());
  while (totals.left() >= sizeof(std::uint64_t)) {
    snapshot.totals.push_back(totals.integer<std::uint64_t>());
  }
  const auto count = in.integer<std::uint32_t>();
  for (std::uint32_t i = 0; i < count; ++i) {
    if (in.at_end()) return refuse("it is truncated");
    const std::string_view record = in.text();
    if (in.truncated() || !read_connection(record, snapshot.connections.emplace_back())) {
      return refuse("a connection in it makes no sense");
    }
  }
  if (in.truncated()) return refuse("it is truncated");
  return snapshot;
}

}  // namespace pool_server
