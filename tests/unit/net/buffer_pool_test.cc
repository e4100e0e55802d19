#include "net/buffer_pool.h"

#include <doctest/doctest.h>

#include <memory>

namespace pool_server {
namespace {

TEST_CASE("buffer pool: storage goes from one connection to the next") {
  const auto pool = std::make_unique<BufferPool>();
  ByteBuffer first;
  pool->lend(first);  // there is none to lend yet: it allocates its own when it needs it
  first.append(std::string(1000, 'x'));
  first.consume(1000);
  pool->take_back(first);
  CHECK_FALSE(first.has_storage());
  pool->take_back(first);  // nothing to take

  ByteBuffer second;
  pool->lend(second);
  CHECK(second.has_storage());
  CHECK(second.empty());
  ByteBuffer third;
  pool->lend(third);
  CHECK_FALSE(third.has_storage());
}

TEST_CASE("buffer pool: a few bytes that own no storage are not taken for none") {
  const auto pool = std::make_unique<BufferPool>();
  ByteBuffer other;
  other.append(std::string(1000, 'x'));
  ByteBuffer few;
  pool->lend(few);  // there was none to lend
  few.append("fine\n");
  other.consume(1000);
  pool->take_back(other);
  pool->lend(few);  // now there is
  few.append("more\n");
  CHECK(few.bytes() == "fine\nmore\n");
}

TEST_CASE("buffer pool: a buffer that has storage, or grew huge, is not mixed up") {
  const auto pool = std::make_unique<BufferPool>();
  ByteBuffer huge;
  huge.append(std::string(1 << 20, 'x'));
  pool->lend(huge);
  CHECK(huge.size() == 1 << 20);
  huge.consume(1 << 20);
  pool->take_back(huge);
  CHECK_FALSE(huge.has_storage());
  ByteBuffer next;
  pool->lend(next);
  CHECK_FALSE(next.has_storage());  // so much is not kept for ever
}

}  // namespace
}  // namespace pool_server
