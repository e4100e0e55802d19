#include "support/scarce_memory.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<bool> none_elsewhere = false;
constinit thread_local bool exempt = false;
constinit thread_local int until_failure = 0;

bool fails() {
  if (none_elsewhere && !exempt) return true;
  return until_failure > 0 && --until_failure == 0;
}

}  // namespace

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return fails() ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}

namespace pool_server {

NoMemoryElsewhere::NoMemoryElsewhere() {
  exempt = true;
  none_elsewhere = true;
}
NoMemoryElsewhere::~NoMemoryElsewhere() {
  none_elsewhere = false;
  exempt = false;
}

OneFailure::OneFailure(int count) {
  until_failure = count;
}
OneFailure::~OneFailure() {
  until_failure = 0;
}
bool OneFailure::came() const {
  return until_failure == 0;
}

}  // namespace pool_server
