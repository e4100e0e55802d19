#include "exchange.h"

#include <stdexcept>
#include <string>

#include "core/handler.h"
#include "handlers/digest.h"

namespace pool_server::bench {

namespace {

class NeverStop final : public StopToken {
 public:
  bool stop_requested() const override { return false; }
};

std::vector<Exchange> digests() {
  constexpr int kLines = 1024;
  const auto handler = make_digest_handler();
  std::vector<Exchange> exchanges;
  for (int number = 0; number < kLines; ++number) {
    const std::string line = "a request, number " + std::to_string(number) +
                             std::string(static_cast<std::size_t>(number % 40), '.');
    std::string digest;
    handler->handle(line, NeverStop(), digest);
    exchanges.push_back({line + "\n", "result: " + digest + "\n"});
  }
  return exchanges;
}

}  // namespace

std::vector<Exchange> make_exchanges(const std::string& name) {
  if (name == "digest") return digests();
  if (name == "echo") return {{"echo a line\n", "result: a line\n"}};
  if (name == "spin") return {{"spin 1\n", "result: spun 1 ms\n"}};
  if (name == "memcached") return {{"get key\r\n", "VALUE key 0 5\r\nvalue\r\nEND\r\n"}};
  throw std::invalid_argument("unknown exchange " + name);
}

}  // namespace pool_server::bench
