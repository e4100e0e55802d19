#include "handlers/registry.h"

#include <array>

#include "handlers/digest.h"
#include "handlers/drill.h"

namespace pool_server {

namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<Handler> (*make)();
};

constexpr std::array kHandlers = {
    Entry{"digest", make_digest_handler},
    Entry{"drill", make_drill_handler},
};

}  // namespace

HandlerFactory find_handler(std::string_view name) {
  for (const Entry& entry : kHandlers) {
    if (entry.name == name) return entry.make;
  }
  return nullptr;
}

std::string handler_names() {
  std::string names;
  for (const Entry& entry : kHandlers) {
    if (!names.empty()) names.append(", ");
    names.append(entry.name);
  }
  return names;
}

}  // namespace pool_server
