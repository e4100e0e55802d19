#include "support/failing_new.h"

#include <cstdlib>
#include <new>

namespace {

struct Plan {
  bool active = false;
  bool stays_out = false;
  bool failed = false;
  std::size_t successes = 0;
};
thread_local Plan plan;

bool fails() {
  if (!plan.active || (plan.failed && !plan.stays_out)) return false;
  if (plan.successes > 0) {
    --plan.successes;
    return false;
  }
  return plan.failed = true;
}

}  // namespace

namespace pool_server {

FailingNew::FailingNew(std::size_t successes, Then then) {
  plan = {true, then == Then::kStaysOut, false, successes};
}

FailingNew::~FailingNew() {
  plan.active = false;
}

bool FailingNew::failed() const {
  return plan.failed;
}

}  // namespace pool_server

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
