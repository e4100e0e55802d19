#include "handlers/registry.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <pool-server/handler.hpp>

#include "handlers/digest.h"
#include "handlers/drill.h"
#include "handlers/password.h"
#include "handlers/plugin.h"

namespace pool_server {

namespace {

// A handler without options.
template <std::unique_ptr<Handler> (*make_one)()>
class Plain final : public HandlerModule {
 public:
  static std::unique_ptr<HandlerModule> load(const HandlerOptions&) {
    return std::make_unique<Plain>();
  }
  std::unique_ptr<Handler> make() override { return make_one(); }
};

struct Entry {
  std::string_view name;
  std::unique_ptr<HandlerModule> (*load)(const HandlerOptions& options);
  std::size_t (*longest_reply)(std::size_t request_bytes);
};

constexpr std::array kBuiltIn = {
    Entry{"digest", Plain<make_digest_handler>::load, longest_digest_reply},
    Entry{"drill", Plain<make_drill_handler>::load, longest_drill_reply},
    Entry{"password", load_password_handler, longest_password_reply},
};

constexpr std::string_view kSuffix = ".so";

const Entry* find_built_in(std::string_view name) {
  const auto* entry = std::ranges::find_if(
      kBuiltIn, [&](const Entry& candidate) { return candidate.name == name; });
  return entry == kBuiltIn.end() ? nullptr : entry;
}

bool is_path(std::string_view name) {
  return name.find('/') != std::string_view::npos;
}

}  // namespace

std::string handler_path(std::string_view name) {
  return std::string(POOL_SERVER_HANDLERS_DIR "/").append(name).append(kSuffix);
}

bool handler_exists(std::string_view name) {
  std::error_code ignored;
  return find_built_in(name) != nullptr || is_path(name) ||
         std::filesystem::exists(handler_path(name), ignored);
}

bool is_plugin(std::string_view name) {
  return find_built_in(name) == nullptr;
}

std::string built_in_handlers() {
  std::string names;
  for (const Entry& entry : kBuiltIn) names.append(names.empty() ? "" : ", ").append(entry.name);
  return names;
}

LongestReply longest_reply_of(const Options& options) {
  // An error that the server makes in its place: the longest of those has 46 bytes and a number.
  static constexpr std::size_t kLongestError = 64;
  const Entry* entry = options.program.empty() ? find_built_in(options.handler) : nullptr;
  if (entry == nullptr) {
    return [longest = options.max_reply + kLongestError](std::size_t) { return longest; };
  }
  return [longest = entry->longest_reply](std::size_t request_bytes) {
    return std::max(longest(request_bytes), kLongestError);
  };
}

std::unique_ptr<HandlerModule> load_handler(const Options& options) {
  const std::string& name = options.handler;
  std::string configuration;
  for (const std::string& setting : options.handler_options) {
    configuration.append(setting).append("\n");
  }
  const Entry* entry = find_built_in(name);
  if (entry == nullptr) {
    return load_plugin(is_path(name) ? name : handler_path(name), configuration, options.max_reply);
  }
  try {
    const HandlerOptions settings(configuration);
    auto module = entry->load(settings);
    settings.refuse_unknown();
    return module;
  } catch (const std::invalid_argument& fault) {
    throw ConfigurationError("handler '" + name + "' cannot start: " + fault.what());
  }
}

}  // namespace pool_server
