#include "sys/memory_size.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace pool_server {
namespace {

struct GroupTree {
  GroupTree() {
    std::string name = (std::filesystem::temp_directory_path() / "pool-server-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root = name;
  }
  GroupTree(const GroupTree&) = delete;
  GroupTree& operator=(const GroupTree&) = delete;
  ~GroupTree() { std::filesystem::remove_all(root); }

  void limit(const std::string& group, const std::string& text) const {
    std::filesystem::create_directories(root + group);
    std::ofstream(root + group + "/memory.max") << text << "\n";
  }

  std::string root;
};

// Fails if a limit above the process's own group, or in a container its root's, is not seen.
TEST_CASE_FIXTURE(GroupTree, "memory size: the lowest limit of a group and those above it") {
  CHECK(group_memory_limit("0::/a/b\n", root) == SIZE_MAX);
  limit("/a/b", "max");
  CHECK(group_memory_limit("0::/a/b\n", root) == SIZE_MAX);
  limit("/a", "5000");
  CHECK(group_memory_limit("0::/a/b\n", root) == 5000);
  limit("/a/b", "7000");
  CHECK(group_memory_limit("0::/a/b\n", root) == 5000);
  limit("", "300");
  CHECK(group_memory_limit("0::/a/b\n", root) == 300);
  CHECK(group_memory_limit("0::/\n", root) == 300);
  CHECK(group_memory_limit("4:memory:/a\n", root) == SIZE_MAX);
  CHECK(group_memory_limit("", root) == SIZE_MAX);
}

TEST_CASE("memory size: this machine has some") {
  CHECK(usable_memory() > 64 << 20);
  CHECK(usable_memory() < SIZE_MAX);
}

}  // namespace
}  // namespace pool_server
