#include "sys/process_usage.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "sys/clock.h"
#include "sys/text_file.h"

namespace pool_server {

namespace {

// How long looking at children may take in one go.
constexpr std::int64_t kMostTime = 100;  // µs

std::uint64_t page_size() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// Empty: it has gone.
std::string read_of(pid_t process, const std::string& file) {
  constexpr std::size_t kMost = 64 * 1024;
  try {
    return read_text_file("/proc/" + std::to_string(process) + "/" + file, kMost);
  } catch (const std::runtime_error&) {
    return {};
  }
}

// The numbers in a text, in order; whatever else is in it is passed over.
std::vector<std::uint64_t> numbers_in(std::string_view text) {
  std::vector<std::uint64_t> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    std::uint64_t number = 0;
    const auto [rest, error] = std::from_chars(at, end, number);
    if (error == std::errc()) numbers.push_back(number);
    at = rest == at ? at + 1 : rest;
  }
  return numbers;
}

std::vector<pid_t> children_of(pid_t parent) {
  const std::string text = read_of(parent, "task/" + std::to_string(parent) + "/children");
  std::vector<pid_t> children;
  for (const std::uint64_t number : numbers_in(text)) {
    children.push_back(static_cast<pid_t>(number));
  }
  return children;
}

// Of a process and of those of its children that it has waited for.
DescendantsUsage::Usage usage_of(pid_t process) {
  const std::string text = read_of(process, "stat");
  // Behind the name, which may be anything, is the state, a letter, and then field 4 of proc(5).
  const std::size_t name_ends = std::min(text.rfind(')'), text.size());
  const std::vector<std::uint64_t> fields = numbers_in(std::string_view(text).substr(name_ends));
  constexpr std::size_t kUserTime = 14 - 4;
  constexpr std::size_t kResident = 24 - 4;
  if (fields.size() <= kResident) return {};
  std::uint64_t ticks = 0;
  for (std::size_t i = 0; i < 4; ++i) ticks += fields[kUserTime + i];
  const auto each = static_cast<std::uint64_t>(1'000'000 / ::sysconf(_SC_CLK_TCK));
  return {.cpu = ticks * each, .resident = fields[kResident] * page_size()};
}

}  // namespace

std::uint64_t cpu_time() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec) / 1000;
}

ResidentMemory::ResidentMemory() : statm_(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)) {}

std::uint64_t ResidentMemory::bytes() const {
  std::array<char, 128> text;
  const ssize_t size = ::pread(statm_.get(), text.data(), text.size(), 0);
  if (size <= 0) return 0;
  const char* const end = text.data() + size;
  std::uint64_t all = 0;  // pages
  std::uint64_t resident = 0;
  const char* rest = std::from_chars(text.data(), end, all).ptr;
  if (rest == end) return 0;
  (void)std::from_chars(rest + 1, end, resident);
  return resident * page_size();
}

// One that ends between two looks may be counted twice, or not at all for a moment.
void DescendantsUsage::look() {
  const std::int64_t end = monotonic_now() + kMostTime;
  if (!begun_) {
    left_ = children_of(parent_);
    sum_ = {};
    begun_ = true;
  }
  while (!left_.empty()) {
    if (monotonic_now() >= end) return;
    const pid_t process = left_.back();
    left_.pop_back();
    const Usage usage = usage_of(process);
    sum_.cpu += usage.cpu;
    sum_.resident += usage.resident;
    std::ranges::copy(children_of(process), std::back_inserter(left_));
  }
  begun_ = false;
  sum_.cpu += before_ + usage_of(parent_).cpu;
  if (known_) sum_.cpu = std::max(sum_.cpu, known_->cpu);
  known_ = sum_;
}

}  // namespace pool_server
