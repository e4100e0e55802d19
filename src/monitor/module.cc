#include "monitor/module.h"

#include <dlfcn.h>

#include <stdexcept>

#include "sys/program_files.h"

namespace pool_server {

const HttpModule& load_http() {
  const std::string path = file_beside_program("monitor.so");
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw std::runtime_error(std::string("the monitor cannot be loaded: ") + ::dlerror());
  }
  const auto* module = static_cast<const HttpModule*>(::dlsym(handle, kHttpModuleSymbol));
  if (module == nullptr || module->version != POOL_SERVER_VERSION) {
    throw std::runtime_error("the monitor cannot be loaded: " + path + " is of another release");
  }
  return *module;
}

}  // namespace pool_server
