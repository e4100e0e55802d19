#pragma once

#include <sys/stat.h>

#include <fstream>
#include <string>
#include <string_view>

#include "support/descriptors.h"

namespace pool_server {

// A configuration file for the while, which everybody may read.
class ConfigFile {
 public:
  explicit ConfigFile(std::string_view text) {
    write(text);
    ::chmod(path().substr(0, path().rfind('/')).c_str(), 0755);
  }
  void write(std::string_view text) const {
    std::ofstream(path(), std::ios::binary) << text;
    ::chmod(path().c_str(), 0644);
  }
  std::string path() const { return directory_.file("socket"); }

 private:
  TemporaryDirectory directory_;
};

}  // namespace pool_server
