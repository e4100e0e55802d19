#include "sys/text_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <stdexcept>
#include <string>

#include "support/descriptors.h"

namespace pool_server {
namespace {

constexpr std::size_t kLimit = 100'000;

std::string why_not(const std::string& path) {
  try {
    read_text_file(path, kLimit);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "it was read";
}

bool ends_with(const std::string& text, const char* end) {
  return text.ends_with(end);
}

TEST_CASE("text file: what is in it, byte for byte, up to the limit") {
  // Fails when a part of it is lost, or more than the limit is taken.
  const TemporaryDirectory directory;
  const std::string path = directory.file("socket");
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{16'384}, kLimit}) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 % 256);
    std::ofstream(path, std::ios::binary) << text;
    CHECK(read_text_file(path, kLimit) == text);
  }
  std::ofstream(path) << std::string(kLimit + 1, 'x');
  CHECK(ends_with(why_not(path), "too long"));
  CHECK(ends_with(why_not("/dev/zero"), "too long"));
  CHECK(read_text_file("/dev/null", kLimit).empty());
}

TEST_CASE("text file: an error is not its end") {
  // Fails when a file that could not be read to its end is taken for a shorter one.
  CHECK(
      ends_with(why_not("/no/such/file"), "cannot read /no/such/file: No such file or directory"));
  CHECK(ends_with(why_not("/tmp"), "cannot read /tmp: Is a directory"));
  CHECK(ends_with(why_not("/proc/self/mem"), "Input/output error"));  // at address 0
}

TEST_CASE("text file: a pipe is refused at once") {
  // Fails when a reload would wait for whoever writes into one, or find it empty.
  const TemporaryDirectory directory;
  const std::string path = directory.file("socket");
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK(ends_with(why_not(path), "cannot be read again"));
}

TEST_CASE("text file: root is told what bars all others, and only that") {
  // Fails when root takes a file for readable that a service without privileges cannot read, or
  // does not believe one that it can.
  if (::geteuid() != 0) return;
  const TemporaryDirectory directory;
  const std::string path = directory.file("socket");
  const std::string parent = path.substr(0, path.rfind('/'));
  std::ofstream(path) << "x";
  const auto with_modes = [&](mode_t of_directory, mode_t of_file) {
    ::chmod(parent.c_str(), of_directory);
    ::chmod(path.c_str(), of_file);
    return barred_to_all_but_root(path);
  };
  CHECK(with_modes(0755, 0644).empty());
  CHECK(with_modes(0711, 0604).empty());
  CHECK(with_modes(0755, 0640) == path + " (mode 0640)");
  CHECK(with_modes(0755, 0600) == path + " (mode 0600)");
  CHECK(with_modes(0700, 0644) == parent + " (mode 0700)");
  CHECK(with_modes(0744, 0644) == parent + " (mode 0744)");
  // A unit may have been given the user or the group that may.
  REQUIRE(::chown(path.c_str(), 0, 1) == 0);
  CHECK(with_modes(0755, 0640).empty());
  CHECK_FALSE(with_modes(0755, 0600).empty());
  REQUIRE(::chown(path.c_str(), 1, 0) == 0);
  CHECK(with_modes(0755, 0400).empty());
}

}  // namespace
}  // namespace pool_server
