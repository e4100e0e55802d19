#include "core/snapshot_codec.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "core/ip_address.h"
#include "core/proxy_header.h"

namespace pool_server {

namespace {

constexpr std::string_view kMagic = "poolsnap";
constexpr std::size_t kHeaderSize = 8 + 4 + 8 + 8;  // magic, version, length, checksum
// What is read or written at once. Longer texts go directly.
constexpr std::size_t kPiece = 64 * 1024;  // bytes

class Checksum {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) {
      hash_ ^= static_cast<unsigned char>(byte);
      hash_ *= 0x100000001b3;
    }
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;  // FNV-1a, 64 bit: offset basis and prime
};

// Of all from `at` on. Uses `buffer`.
std::uint64_t checksum(const SnapshotFile& file, std::uint64_t at, std::string& buffer) {
  Checksum sum;
  const std::uint64_t size = file.size();
  while (at < size) {
    buffer.resize(static_cast<std::size_t>(std::min<std::uint64_t>(size - at, kPiece)));
    file.read(at, buffer);
    sum.add(buffer);
    at += buffer.size();
  }
  return sum.value();
}

// Writes from a place on. Once it has failed, nothing more is written.
class Output {
 public:
  // Uses `buffer`, which is empty before and after.
  Output(SnapshotFile& file, std::uint64_t at, std::string& buffer)
      : file_(file), at_(at), buffer_(buffer) {
    buffer_.clear();
  }

  template <class Integer>
  void integer(Integer value) {
    std::array<char, sizeof value> bytes;
    for (std::size_t i = 0; i < sizeof value; ++i) {
      bytes[i] = static_cast<char>((static_cast<std::uint64_t>(value) >> (8 * i)) & 0xff);
    }
    put({bytes.data(), bytes.size()});
  }
  void text(std::string_view text) {
    integer(static_cast<std::uint32_t>(text.size()));
    put(text);
  }
  void put(std::string_view bytes) {
    if (buffer_.size() + bytes.size() > kPiece) flush();
    if (bytes.size() > kPiece) {
      write(bytes);
    } else {
      buffer_.append(bytes);
    }
  }
  // False: not everything has been written.
  bool flush() {
    write(buffer_);
    buffer_.clear();
    return !failed_;
  }
  std::uint64_t end() const { return at_; }

 private:
  void write(std::string_view bytes) {
    if (failed_ || bytes.empty()) return;
    failed_ = !file_.write(at_, bytes);
    at_ += bytes.size();
  }

  SnapshotFile& file_;
  std::uint64_t at_;
  std::string& buffer_;
  bool failed_ = false;
};

std::uint64_t size_of_record(const CarriedConnection& connection) {
  constexpr std::uint64_t kText = 4;
  std::uint64_t size = 8 + 8 + 1 + 1 + 3 * kText + 4 + 1 + kText + 2;
  size += connection.partial_line.size() + connection.undecoded.size() + connection.unsent.size() +
          connection.client.size();
  for (const CarriedAnswer& answer : connection.owed) size += 1 + 1 + kText + answer.text.size();
  return size;
}

}  // namespace

SnapshotWriter::SnapshotWriter(SnapshotFile& file, const std::vector<std::uint64_t>& totals)
    : file_(file) {
  Output out(file_, 0, buffer_);
  out.put(std::string(kHeaderSize, '\0'));  // its place: what it tells is not known yet
  out.integer(static_cast<std::uint32_t>(totals.size() * sizeof(std::uint64_t)));
  for (const std::uint64_t total : totals) out.integer(total);
  if (!out.flush()) return;
  count_at_ = out.end();
  out.integer(count_);
  begun_ = out.flush();
  end_ = out.end();
}

bool SnapshotWriter::add(const CarriedConnection& connection) {
  constexpr std::uint32_t kMost = std::numeric_limits<std::uint32_t>::max();
  const std::uint64_t size = size_of_record(connection);
  if (!begun_ || count_ == kMost || size > kMost) return false;
  Output out(file_, end_, buffer_);
  out.integer(static_cast<std::uint32_t>(size));
  out.integer(connection.cookie);
  out.integer(connection.serial);
  out.integer(static_cast<std::uint8_t>(connection.end_of_input));
  out.integer(static_cast<std::uint8_t>(connection.skipping_line));
  out.text(connection.partial_line);
  out.text(connection.undecoded);
  out.text(connection.unsent);
  out.integer(static_cast<std::uint32_t>(connection.owed.size()));
  for (const CarriedAnswer& answer : connection.owed) {
    out.integer(static_cast<std::uint8_t>(answer.kind));
    out.integer(static_cast<std::uint8_t>(answer.outcome));
    out.text(answer.text);
  }
  out.integer(static_cast<std::uint8_t>(connection.proxied));
  out.text(connection.client);
  out.integer(connection.client_port);
  if (!out.flush()) return false;
  end_ = out.end();
  ++count_;
  return true;
}

bool SnapshotWriter::finish() {
  if (!begun_) return false;
  Output count(file_, count_at_, buffer_);
  count.integer(count_);
  if (!count.flush()) return false;
  // To the very end: a record that could not be written may have left something there.
  const std::uint64_t length = file_.size() - kHeaderSize;
  const std::uint64_t sum = checksum(file_, kHeaderSize, buffer_);
  Output header(file_, 0, buffer_);
  header.put(kMagic);
  header.integer(kSnapshotVersion);
  header.integer(length);
  header.integer(sum);
  return header.flush();
}

// A part of the file. At its end, where an older release wrote no more, it gives zeros and empty
// texts; an end in the middle of something is told by truncated().
class SnapshotReader::Input {
 public:
  Input(SnapshotReader& reader, std::uint64_t at, std::uint64_t end)
      : reader_(reader), at_(at), end_(end) {}

  template <class Integer>
  Integer integer() {
    if (left() < sizeof(Integer)) {
      if (!at_end()) truncate();
      return 0;
    }
    std::array<char, sizeof(Integer)> bytes;
    reader_.read(at_, bytes);
    at_ += sizeof(Integer);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    }
    return static_cast<Integer>(value);
  }

  std::string text() {
    const Input part = record();
    std::string text(static_cast<std::size_t>(part.left()), '\0');
    reader_.read(part.at_, text);
    return text;
  }

  // A part of its own, which begins with its length.
  Input record() {
    const auto size = integer<std::uint32_t>();
    if (left() < size) {
      truncate();
      return {reader_, at_, at_};
    }
    at_ += size;
    return {reader_, at_ - size, at_};
  }

  bool at_end() const { return at_ == end_; }
  bool truncated() const { return truncated_; }
  std::uint64_t left() const { return end_ - at_; }
  std::uint64_t at() const { return at_; }

 private:
  void truncate() {
    at_ = end_;
    truncated_ = true;
  }

  SnapshotReader& reader_;
  std::uint64_t at_;
  std::uint64_t end_;
  bool truncated_ = false;
};

namespace {

// False: a value that no release has written.
template <class Input>
bool read_answer(Input& in, CarriedAnswer& answer) {
  const auto kind = in.template integer<std::uint8_t>();
  const auto outcome = in.template integer<std::uint8_t>();
  answer.text = in.text();
  if (kind > static_cast<std::uint8_t>(CarriedAnswer::Kind::kStats)) return false;
  if (outcome > static_cast<std::uint8_t>(Outcome::kError)) return false;
  answer.kind = static_cast<CarriedAnswer::Kind>(kind);
  answer.outcome = static_cast<Outcome>(outcome);
  return true;
}

bool is_sound_client(const CarriedConnection& connection) {
  switch (connection.proxied) {
    case CarriedConnection::Proxied::kNo:
      return true;
    case CarriedConnection::Proxied::kHeaderAwaited:
      return connection.client.size() < kLongestProxyHeader;
    case CarriedConnection::Proxied::kClientKnown:
      return ip_address(connection.client).has_value();
  }
  return false;
}

template <class Input>
bool read_connection(Input& in, CarriedConnection& connection) {
  connection.cookie = in.template integer<std::uint64_t>();
  connection.serial = in.template integer<std::uint64_t>();
  connection.end_of_input = in.template integer<std::uint8_t>() != 0;
  connection.skipping_line = in.template integer<std::uint8_t>() != 0;
  connection.partial_line = in.text();
  connection.undecoded = in.text();
  connection.unsent = in.text();
  const auto owed = in.template integer<std::uint32_t>();
  for (std::uint32_t i = 0; i < owed; ++i) {
    if (in.at_end() || !read_answer(in, connection.owed.emplace_back())) return false;
  }
  const auto proxied = in.template integer<std::uint8_t>();
  if (proxied > static_cast<std::uint8_t>(CarriedConnection::Proxied::kClientKnown)) return false;
  connection.proxied = static_cast<CarriedConnection::Proxied>(proxied);
  connection.client = in.text();
  connection.client_port = in.template integer<std::uint16_t>();
  return !in.truncated() && is_sound_client(connection);
}

}  // namespace

SnapshotReader::SnapshotReader(const SnapshotFile& file) : file_(file), size_(file.size()) {
  open();
}

void SnapshotReader::open() {
  std::string magic(static_cast<std::size_t>(std::min<std::uint64_t>(size_, kMagic.size())), '\0');
  read(0, magic);
  if (magic != kMagic) {
    fault_ = "it is not a snapshot";
    return;
  }
  Input header(*this, kMagic.size(), size_);
  if (size_ < kHeaderSize) {
    fault_ = "it is truncated";
    return;
  }
  const auto version = header.integer<std::uint32_t>();
  const auto length = header.integer<std::uint64_t>();
  const auto sum = header.integer<std::uint64_t>();
  if (version == 0 || version > kSnapshotVersion) {
    fault_ = "its version is not known";
  } else if (header.left() != length) {
    fault_ = "it is truncated";
  } else {
    std::string buffer;
    if (checksum(file_, kHeaderSize, buffer) != sum) fault_ = "its checksum is wrong";
  }
  if (!fault_.empty()) return;

  Input payload(*this, kHeaderSize, size_);
  Input totals = payload.record();
  while (totals.left() >= sizeof(std::uint64_t)) {
    totals_.push_back(totals.integer<std::uint64_t>());
  }
  left_ = count_ = payload.integer<std::uint32_t>();
  at_ = payload.at();
  if (payload.truncated()) fault_ = "it is truncated";
}

SnapshotReader::Found SnapshotReader::next(CarriedConnection& connection) {
  if (!fault_.empty() || left_ == 0) return Found::kEnd;
  Input payload(*this, at_, size_);
  const bool at_end = payload.at_end();
  Input record = payload.record();
  if (at_end || payload.truncated()) {
    fault_ = "it is truncated";
    return Found::kEnd;
  }
  // Before the record is read, which may throw.
  at_ = payload.at();
  --left_;
  connection = CarriedConnection();
  return read_connection(record, connection) ? Found::kConnection : Found::kSenseless;
}

void SnapshotReader::read(std::uint64_t at, std::span<char> to) {
  if (to.size() > kPiece) {
    file_.read(at, to);
    return;
  }
  if (at < window_at_ || at + to.size() > window_at_ + window_.size()) {
    window_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(size_ - at, kPiece)));
    window_at_ = at;
    file_.read(at, window_);
  }
  std::memcpy(to.data(), window_.data() + (at - window_at_), to.size());
}

}  // namespace pool_server
