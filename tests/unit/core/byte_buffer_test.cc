#include "core/byte_buffer.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

namespace pool_server {
namespace {

TEST_CASE("byte buffer: what goes in comes out in order") {
  std::mt19937 random(7);
  ByteBuffer buffer;
  std::string model;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      const std::string more(random() % 40, static_cast<char>('a' + random() % 26));
      buffer.append(more);
      model.append(more);
    } else {
      const std::size_t count = random() % (model.size() + 1);
      buffer.consume(count);
      model.erase(0, count);
    }
    REQUIRE(buffer.bytes() == model);
    REQUIRE(buffer.size() == model.size());
    REQUIRE(buffer.empty() == model.empty());
  }
}

TEST_CASE("byte buffer: does not keep what was taken") {
  ByteBuffer buffer;
  buffer.append(std::string(1000, 'x'));
  // A steady stream that never runs dry must not grow the storage without end.
  for (int i = 0; i < 10'000; ++i) {
    buffer.append(std::string(100, 'y'));
    buffer.consume(100);
  }
  CHECK(buffer.size() == 1000);
  buffer.consume(1000);
  CHECK(buffer.give_up_storage().capacity() < 10'000);
}

TEST_CASE("byte buffer: an empty one gives its storage up and owns none") {
  ByteBuffer buffer;
  CHECK_FALSE(buffer.has_storage());
  std::string storage;
  storage.reserve(500);
  storage = "left over";
  buffer.lend_storage(std::move(storage));
  CHECK(buffer.has_storage());
  CHECK(buffer.empty());
  buffer.append("some bytes of output");
  buffer.consume(5);
  CHECK(buffer.bytes() == "bytes of output");
  buffer.consume(15);
  CHECK(buffer.empty());
  CHECK(buffer.give_up_storage().capacity() >= 500);
  CHECK_FALSE(buffer.has_storage());
}

TEST_CASE("byte buffer: is given away and taken back whole") {
  ByteBuffer buffer;
  buffer.append(std::string(100, 'a') + std::string(150, 'b'));
  buffer.consume(100);
  std::string bytes = buffer.release();
  CHECK(bytes == std::string(150, 'b'));
  CHECK(buffer.empty());
  CHECK_FALSE(buffer.has_storage());
  const char* place = bytes.data();
  ByteBuffer other;
  other.adopt(std::move(bytes));
  CHECK(other.bytes() == std::string(150, 'b'));
  CHECK(other.bytes().data() == place);  // not copied
  other.append("c");
  CHECK(other.size() == 151);
}

TEST_CASE("byte buffer: what was taken is wiped, in storage that is kept too") {
  const auto bytes_from = [](const char* begin) { return std::string(begin, 40); };
  ByteBuffer buffer;
  std::string storage;
  storage.reserve(100);
  buffer.lend_storage(std::move(storage));
  buffer.append("0123456789-secret-secret-secret-secret-9");
  const char* begin = buffer.bytes().data();
  buffer.consume(37);  // moves what is left
  CHECK(buffer.bytes() == "t-9");
  CHECK(bytes_from(begin) == "t-9" + std::string(37, '\0'));
  buffer.consume(3);
  const std::string given_up = buffer.give_up_storage();
  CHECK(bytes_from(given_up.data()) == std::string(40, '\0'));
}

}  // namespace
}  // namespace pool_server
