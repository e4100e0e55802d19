#pragma once

#include <string>

namespace pool_server {

// Where a file is that comes with the program: beside the binary that runs if it is there, as in
// the tree it was built in, else where it is installed. Makes no look-up by a name that others
// could set.
std::string file_beside_program(const std::string& name);

}  // namespace pool_server
