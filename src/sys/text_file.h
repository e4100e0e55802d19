#pragma once

#include <cstddef>
#include <string>

namespace pool_server {

// The whole content of the file at `path`. Throws std::runtime_error, "cannot read PATH: WHY", if
// it cannot be read to its end, has more than `limit` bytes, or is one that can be read only once
// or may be waited for (a pipe, a socket): what runs by it reads it again. Never blocks but on a
// disk.
std::string read_text_file(const std::string& path, std::size_t limit);

// What on the way to `path` bars every user but root: "PATH (mode 0600)", the file itself or a
// directory that `path` names. Empty: nothing, or this process is not root, to whom a file that it
// could read says nothing about others.
std::string barred_to_all_but_root(const std::string& path);

}  // namespace pool_server
