#include "handlers/sandbox.h"

#include <link.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <system_error>

#include "handlers/registry.h"

namespace pool_server {

namespace {

using Paths = std::set<std::string>;

int take_name(dl_phdr_info* info, std::size_t, void* paths) {
  // The program itself has no name, and what the kernel maps has no path.
  if (info->dlpi_name != nullptr && info->dlpi_name[0] == '/') {
    static_cast<Paths*>(paths)->insert(info->dlpi_name);
  }
  return 0;
}

// Of this process: shared objects as they were found, and regular files that are open.
Paths paths_in_use() {
  Paths paths;
  ::dl_iterate_phdr(take_name, &paths);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const std::filesystem::path target = std::filesystem::read_symlink(entry, ignored);
    if (target.is_absolute() && std::filesystem::is_regular_file(target, ignored)) {
      paths.insert(target);
    }
  }
  return paths;
}

}  // namespace

std::string explain_sandbox(const Options& options) {
  const std::string& name = options.handler;
  if (!is_plugin(name)) return "# " + name + " is built in: it needs nothing but what is there.\n";
  const Paths before = paths_in_use();
  const std::unique_ptr<HandlerModule> module = load_handler(options);
  const std::unique_ptr<Handler> handler = module->make();
  const Paths after = paths_in_use();
  Paths more;
  std::ranges::set_difference(after, before, std::inserter(more, more.end()));
  const std::string own = std::filesystem::path(handler_path("x")).parent_path();
  std::erase_if(more, [&](const std::string& path) {
    return std::filesystem::path(path).parent_path() == own;
  });
  std::string text = "# What '" + name +
                     "' has loaded and opened by the time that it is ready. Files that it reads\n"
                     "# and closes before, or opens later, have to be added.\n[Service]\n";
  for (const std::string& path : more) text += "BindReadOnlyPaths=" + path + "\n";
  if (more.empty()) text += "# Nothing but what is there.\n";
  return text;
}

}  // namespace pool_server
