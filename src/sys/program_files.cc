#include "sys/program_files.h"

#include <sys/auxv.h>
#include <sys/stat.h>

namespace pool_server {

std::string file_beside_program(const std::string& name) {
  // As it was given to execve().
  const auto* const program = reinterpret_cast<const char*>(  // NOLINT(performance-no-int-to-ptr)
      ::getauxval(AT_EXECFN));
  const std::string path = program == nullptr ? std::string() : program;
  const std::string beside = path.substr(0, path.rfind('/') + 1) + name;
  struct stat status {};
  const bool is_here = beside.find('/') != std::string::npos &&
                       ::stat(beside.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  return is_here ? beside : POOL_SERVER_LIBDIR "/" + name;
}

}  // namespace pool_server
