#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sys/unique_fd.h"

namespace pool_server {

// An anonymous file in memory that can be passed on by descriptor, and sealed: whoever gets it can
// rely on it not changing any more. Throws std::system_error.
UniqueFd make_memfd(const char* name);
void seal(int memfd);

// The size in bytes of one that is sealed and whose content is really there: what has a size only,
// as a file of 64 GiB that takes no memory, was not written by us. Otherwise nullopt, and why.
// Throws std::system_error when it cannot be told.
std::optional<std::uint64_t> sealed_size(int fd, std::string_view& fault);

std::uint64_t file_size(int fd);  // throws std::system_error
// False: not all of it could be written; a part may have been.
bool write_at(int fd, std::uint64_t at, std::string_view bytes);
// Fills `to`; throws std::system_error, also where the file ends before.
void read_at(int fd, std::uint64_t at, std::span<char> to);

}  // namespace pool_server
