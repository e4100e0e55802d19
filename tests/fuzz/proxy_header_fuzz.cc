// Any bytes as what a proxy says first: one verdict on the whole, however many bytes of it are
// there, which the bytes behind it do not change; and no header is longer than is promised.

#include "core/proxy_header.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "must.h"

namespace {

using namespace pool_server;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  ProxyHeader whole;
  const ProxyHeaderState verdict = read_proxy_header(input, whole);
  must(verdict != ProxyHeaderState::kIncomplete || size < kLongestProxyHeader);
  bool decided = false;
  for (std::size_t end = 0; end <= size; ++end) {
    ProxyHeader part;
    const ProxyHeaderState state = read_proxy_header(input.substr(0, end), part);
    if (state == ProxyHeaderState::kIncomplete) {
      must(!decided);
      continue;
    }
    must(state == verdict);  // the first that decides, and all after it
    decided = true;
    if (state == ProxyHeaderState::kInvalid) continue;
    must(part.size == whole.size && part.size > 0 && part.size <= end);
    must(part.size <= kLongestProxyHeader);
    must(part.client == whole.client && part.port == whole.port);
    must(end >= part.size);
  }
  must(decided == (verdict != ProxyHeaderState::kIncomplete));
  if (verdict == ProxyHeaderState::kComplete && whole.client) {
    const std::string_view bytes = bytes_of(*whole.client);
    must(ip_address(bytes) == whole.client);
    must(!to_string(*whole.client, whole.port).empty());
  }
  return 0;
}
