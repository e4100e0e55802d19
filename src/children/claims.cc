#include "children/claims.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

namespace pool_server {

namespace {

constexpr int kHalf = 32;

}  // namespace

Claims::Claims() : fd_(::memfd_create("pool-server-claims", MFD_CLOEXEC)) {
  constexpr std::uint64_t kNone = 0;
  if (!fd_.valid() || ::pwrite(fd_.get(), &kNone, sizeof kNone, 0) != sizeof kNone) {
    throw_errno("memfd_create");
  }
  map(fd_.get());
}

Claims::Claims(int fd) {
  map(fd);
}

Claims::~Claims() {
  ::munmap(word_, sizeof *word_);
}

void Claims::map(int fd) {
  void* const memory = ::mmap(nullptr, sizeof *word_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) throw_errno("mmap");
  word_ = static_cast<std::uint64_t*>(memory);
}

bool Claims::claim(std::uint32_t generation, std::uint32_t number) noexcept {
  const std::atomic_ref word(*word_);
  std::uint64_t is = word.load();
  do {
    if (is >> kHalf != generation) return false;
  } while (!word.compare_exchange_weak(
      is, std::uint64_t{generation} << kHalf | static_cast<std::uint32_t>(number + 1)));
  return true;
}

std::uint32_t Claims::end_generation() noexcept {
  return static_cast<std::uint32_t>(std::atomic_ref(*word_).fetch_add(std::uint64_t{1} << kHalf));
}

std::uint32_t Claims::claimed() const noexcept {
  return static_cast<std::uint32_t>(std::atomic_ref(*word_).load());
}

}  // namespace pool_server
