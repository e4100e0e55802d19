// Snapshots that nobody wrote: whatever the store of a service manager may give us.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../unit/support/snapshot_text.h"
#include "must.h"

namespace {

using namespace pool_server;

void decode_must_be_sound(std::string_view bytes) {
  std::string fault;
  const auto snapshot = decode(bytes, fault);
  must(snapshot.has_value() == fault.empty());
  if (!snapshot) return;
  // What was understood can be written and means the same then.
  const auto again = decode(encode(*snapshot), fault);
  must(again.has_value() && *again == *snapshot);
}

template <class Integer>
void append(Integer value, std::string& out) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff));
  }
}

// With the right head: no fuzzer guesses the checksum that guards the parser behind it.
std::string with_head(std::string_view payload) {
  std::uint64_t sum = 0xcbf29ce484222325;
  for (const char byte : payload) sum = (sum ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  std::string out = "poolsnap";
  append(kSnapshotVersion, out);
  append(static_cast<std::uint64_t>(payload.size()), out);
  append(sum, out);
  return out.append(payload);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  decode_must_be_sound(bytes);
  decode_must_be_sound(with_head(bytes));
  return 0;
}
