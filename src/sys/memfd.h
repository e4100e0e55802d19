#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "sys/unique_fd.h"

namespace pool_server {

// An anonymous file in memory that can be passed on by descriptor, and sealed: whoever gets it can
// rely on it not changing any more. Throws std::system_error.
UniqueFd make_memfd(const char* name);
void write_and_seal(int fd, std::string_view content);

// The whole content; nullopt when it is not sealed, not such a file, or larger than `limit` bytes.
std::optional<std::string> read_sealed(int fd, std::size_t limit);

}  // namespace pool_server
