#include "core/snapshot_codec.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "support/snapshot_text.h"

namespace pool_server {
namespace {

CarriedConnection some_connection(std::uint64_t cookie) {
  CarriedConnection connection;
  connection.cookie = cookie;
  connection.serial = 7;
  connection.end_of_input = true;
  connection.partial_line = "begun";
  connection.undecoded = std::string("a\0b\n", 4);
  connection.unsent = "result: x\n";
  connection.owed = {{CarriedAnswer::Kind::kRequest, Outcome::kOk, "request"},
                     {CarriedAnswer::Kind::kReply, Outcome::kError, "ERROR: no\n"},
                     {CarriedAnswer::Kind::kStats, Outcome::kOk, ""}};
  connection.proxied = CarriedConnection::Proxied::kClientKnown;
  connection.client = std::string("\xc0\0\2\1", 4);
  connection.client_port = 0xfedc;
  return connection;
}

Snapshot some_snapshot() {
  Snapshot snapshot;
  snapshot.totals = {1, 0, UINT64_MAX};
  snapshot.connections = {some_connection(UINT64_MAX - 1), CarriedConnection(), some_connection(2)};
  return snapshot;
}

std::optional<Snapshot> decoded(std::string_view bytes) {
  std::string fault;
  auto snapshot = decode(bytes, fault);
  CHECK(fault.empty() == snapshot.has_value());
  return snapshot;
}

// The documented format, said a second time.
template <class Integer>
std::string little_endian(Integer value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof value; ++i) {
    bytes.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff));
  }
  return bytes;
}
std::string record(const std::string& bytes) {
  return little_endian(static_cast<std::uint32_t>(bytes.size())) + bytes;
}
std::string sealed(const std::string& payload, std::uint32_t version = kSnapshotVersion) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char byte : payload) hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  return "poolsnap" + little_endian(version) + little_endian(std::uint64_t{payload.size()}) +
         little_endian(hash) + payload;
}

TEST_CASE("snapshot: what is written is read") {
  CHECK((decoded(encode(Snapshot())) == Snapshot()));
  CHECK((decoded(encode(some_snapshot())) == some_snapshot()));
}

TEST_CASE("snapshot: the format is the documented one") {
  Snapshot snapshot;
  snapshot.totals = {3, 4};
  const std::string payload =
      record(little_endian(std::uint64_t{3}) + little_endian(std::uint64_t{4})) +
      little_endian(std::uint32_t{0});
  CHECK((encode(snapshot) == sealed(payload)));
}

TEST_CASE("snapshot: fields and totals that a later release adds are skipped") {
  const std::string known = little_endian(std::uint64_t{5}) + little_endian(std::uint64_t{6}) +
                            std::string("\0\1", 2) + record("par") + record("") + record("out") +
                            little_endian(std::uint32_t{0}) + "\1" + record("PRO") +
                            little_endian(std::uint16_t{0});
  const std::string payload = record(little_endian(std::uint64_t{1}) + "odd") +
                              little_endian(std::uint32_t{2}) + record(known + "more") +
                              record(known) + "and more";
  const auto snapshot = decoded(sealed(payload));
  REQUIRE(snapshot.has_value());
  CHECK(snapshot->totals == std::vector<std::uint64_t>{1});
  REQUIRE(snapshot->connections.size() == 2);
  CHECK((snapshot->connections[0] == snapshot->connections[1]));
  CHECK(snapshot->connections[0].cookie == 5);
  CHECK(snapshot->connections[0].serial == 6);
  CHECK_FALSE(snapshot->connections[0].end_of_input);
  CHECK(snapshot->connections[0].skipping_line);
  CHECK(snapshot->connections[0].partial_line == "par");
  CHECK(snapshot->connections[0].unsent == "out");
  CHECK((snapshot->connections[0].proxied == CarriedConnection::Proxied::kHeaderAwaited));
  CHECK(snapshot->connections[0].client == "PRO");
}

TEST_CASE("snapshot: another version is refused") {
  const std::string payload = record("") + little_endian(std::uint32_t{0});
  CHECK(decoded(sealed(payload)).has_value());
  CHECK_FALSE(decoded(sealed(payload, kSnapshotVersion + 1)).has_value());
  CHECK_FALSE(decoded(sealed(payload, 0)).has_value());
}

TEST_CASE("snapshot: none that is cut short or has a wrong byte is taken") {
  const std::string whole = encode(some_snapshot());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(decoded(std::string_view(whole).substr(0, size)).has_value());
  }
  CHECK_FALSE(decoded(whole + "x").has_value());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CAPTURE(i);
    std::string wrong = whole;
    wrong[i] = static_cast<char>(wrong[i] ^ 0x10);
    CHECK_FALSE(decoded(wrong).has_value());
  }
}

TEST_CASE("snapshot: fields that an earlier release did not write have their defaults") {
  const std::vector<std::string> fields = {little_endian(std::uint64_t{5}),
                                           little_endian(std::uint64_t{6}),
                                           std::string(1, '\1'),
                                           std::string(1, '\0'),
                                           record("par"),
                                           record("undecoded"),
                                           record("unsent"),
                                           little_endian(std::uint32_t{0}),
                                           std::string(1, '\1'),
                                           record("PRO"),
                                           little_endian(std::uint16_t{0})};
  std::string written = fields[0];  // all have told which socket they mean
  for (std::size_t count = 1; count < fields.size(); ++count) {
    CAPTURE(count);
    const auto snapshot =
        decoded(sealed(record("") + little_endian(std::uint32_t{1}) + record(written)));
    REQUIRE(snapshot.has_value());
    REQUIRE(snapshot->connections.size() == 1);
    CHECK(snapshot->connections[0].cookie == 5);
    CHECK(snapshot->connections[0].end_of_input == (count > 2));
    CHECK(snapshot->connections[0].partial_line == (count > 4 ? "par" : ""));
    CHECK(snapshot->connections[0].unsent == (count > 6 ? "unsent" : ""));
    written += fields[count];
    // In the middle of a field no release ends.
    const std::string_view part = std::string_view(written).substr(0, written.size() - 1);
    if (fields[count].size() > 1) {
      CHECK_FALSE(
          decoded(sealed(record("") + little_endian(std::uint32_t{1}) + record(std::string(part))))
              .has_value());
    }
  }
}

TEST_CASE("snapshot: whatever its bytes, it is refused or understood, and nothing worse") {
  std::mt19937 random(9);
  const std::string payload = encode(some_snapshot()).substr(8 + 4 + 8 + 8);
  int understood = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string wrong = payload;
    for (auto changes = random() % 4; changes > 0; --changes) {
      const std::size_t place = random() % (wrong.size() + 1);
      switch (random() % 4) {
        case 0:
          wrong.resize(place);
          break;
        case 1:
          wrong.insert(place, 1 + random() % 8, static_cast<char>(random()));
          break;
        case 2:
          wrong.erase(place, 1 + random() % 8);
          break;
        default:
          if (place < wrong.size()) wrong[place] = static_cast<char>(random());
      }
    }
    // The checksum is right, so this is about the parser.
    const auto snapshot = decoded(sealed(wrong));
    if (!snapshot) continue;
    ++understood;
    CHECK((decoded(encode(*snapshot)) == snapshot));
  }
  CHECK(understood > 5'000);
  // So many connections that only their number would exhaust the memory.
  CHECK_FALSE(decoded(sealed(record("") + little_endian(UINT32_MAX))).has_value());
}

TEST_CASE("snapshot: one connection that does not fit is left out, and no other") {
  const CarriedConnection small = some_connection(1);
  CarriedConnection large = some_connection(2);
  large.unsent.assign(200'000, 'x');
  SnapshotText file({}, /*room=*/100'000);
  SnapshotWriter writer(file, {7});
  CHECK(writer.add(small));
  CHECK_FALSE(writer.add(large));
  CHECK(writer.add(some_connection(3)));
  REQUIRE(writer.finish());
  CHECK((decoded(file.text()) == Snapshot{{7}, {small, some_connection(3)}}));
}

// A file of which one write fails, though the next do not.
struct FailingOnce final : SnapshotFile {
  explicit FailingOnce(int successes) : left(successes) {}
  std::uint64_t size() const override { return text.size(); }
  bool write(std::uint64_t at, std::string_view bytes) override {
    return left-- != 0 && text.write(at, bytes);
  }
  void read(std::uint64_t at, std::span<char> to) const override { text.read(at, to); }

  SnapshotText text;
  int left;
};

TEST_CASE("snapshot: a write that fails once costs the one that it is of, and all of that") {
  constexpr std::size_t kOf = 3;
  Snapshot all{{7}, {}};
  for (std::size_t i = 0; i < kOf; ++i) {
    CarriedConnection connection = some_connection(i + 1);
    connection.undecoded.assign(100'000, 'u');  // several pieces
    connection.unsent.assign(100'000, 's');
    all.connections.push_back(std::move(connection));
  }
  bool failed = true;
  for (int at = 2; failed; ++at) {  // those of the totals come first
    CAPTURE(at);
    FailingOnce file(at);
    SnapshotWriter writer(file, all.totals);
    Snapshot kept{{7}, {}};
    for (const CarriedConnection& connection : all.connections) {
      if (writer.add(connection)) kept.connections.push_back(connection);
    }
    CHECK(kept.connections.size() >= kOf - 1);
    if (!writer.finish()) REQUIRE(writer.finish());  // of the end itself
    CHECK((decoded(file.text.text()) == kept));
    failed = file.left < 0;
  }
}

TEST_CASE("snapshot: one that has no room at all is none") {
  for (std::size_t room : {0U, 20U, 40U}) {
    CAPTURE(room);
    SnapshotText file({}, room);
    SnapshotWriter writer(file, {1, 2, 3});
    CHECK_FALSE(writer.add(some_connection(1)));
    CHECK_FALSE(writer.finish());
    CHECK_FALSE(decoded(file.text()).has_value());
  }
}

TEST_CASE("snapshot: a connection that makes no sense costs no other") {
  const std::string known = encode({{}, {some_connection(5)}}).substr(8 + 4 + 8 + 8 + 4 + 4);
  const SnapshotText file(sealed(record("") + little_endian(std::uint32_t{3}) + known +
                                 record(std::string(9, 'x')) + known));
  SnapshotReader reader(file);
  CarriedConnection connection;
  CHECK(reader.count() == 3);
  CHECK(reader.next(connection) == SnapshotReader::Found::kConnection);
  CHECK(reader.next(connection) == SnapshotReader::Found::kSenseless);
  CHECK(reader.next(connection) == SnapshotReader::Found::kConnection);
  CHECK((connection == some_connection(5)));
  CHECK(reader.next(connection) == SnapshotReader::Found::kEnd);
  CHECK(reader.fault().empty());
}

TEST_CASE("snapshot: written and read in pieces, whatever their lengths") {
  Snapshot snapshot;
  for (std::size_t size : {0U, 1U, 60'000U, 65'511U, 65'536U, 65'537U, 200'000U}) {
    CarriedConnection connection = some_connection(size + 1);
    connection.undecoded.assign(size, 'u');
    connection.owed.push_back({CarriedAnswer::Kind::kReply, Outcome::kOk, std::string(size, 'r')});
    snapshot.connections.push_back(std::move(connection));
  }
  SnapshotText file;
  SnapshotWriter writer(file, snapshot.totals);
  for (const CarriedConnection& connection : snapshot.connections) REQUIRE(writer.add(connection));
  REQUIRE(writer.finish());
  CHECK((decoded(file.text()) == snapshot));
  // Nothing longer than the longest text passes at once: never the whole.
  CHECK(file.longest_write() == 200'000);
  CHECK(file.longest_read() <= 65'536);
}

TEST_CASE("snapshot: a client behind a proxy that cannot be makes no sense") {
  using Proxied = CarriedConnection::Proxied;
  const auto is_taken = [](Proxied proxied, const std::string& client) {
    Snapshot snapshot;
    snapshot.connections.emplace_back();
    snapshot.connections[0].proxied = proxied;
    snapshot.connections[0].client = client;
    const auto read = decoded(encode(snapshot));
    return read.has_value() && read->connections.size() == 1;
  };
  CHECK(is_taken(Proxied::kClientKnown, "1234"));
  CHECK(is_taken(Proxied::kClientKnown, std::string(16, 'x')));
  CHECK_FALSE(is_taken(Proxied::kClientKnown, ""));
  CHECK_FALSE(is_taken(Proxied::kClientKnown, "12345"));
  CHECK(is_taken(Proxied::kHeaderAwaited, ""));
  CHECK(is_taken(Proxied::kHeaderAwaited, std::string(4095, 'x')));
  CHECK_FALSE(is_taken(Proxied::kHeaderAwaited, std::string(4096, 'x')));
}

}  // namespace
}  // namespace pool_server
