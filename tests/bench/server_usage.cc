#include "server_usage.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

namespace pool_server::bench {

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (text.str().empty()) throw std::runtime_error("cannot read " + path.string());
  return text.str();
}

// The number behind "NAME:" in a file such as /proc/PID/status.
std::uint64_t number_behind(const std::string& text, const std::string& name) {
  const std::size_t at = text.find("\n" + name + ":");
  if (at == std::string::npos) throw std::runtime_error("no " + name + " in /proc");
  return std::stoull(text.substr(at + name.size() + 2));
}

double cpu_seconds(const std::filesystem::path& process) {
  const std::string stat = read_file(process / "stat");
  // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th behind it.
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

ServerUsage usage_of(int pid) {
  const std::filesystem::path process = "/proc/" + std::to_string(pid);
  ServerUsage usage{.cpu_seconds = cpu_seconds(process)};
  for (const auto& thread : std::filesystem::directory_iterator(process / "task")) {
    const std::string status = read_file(thread.path() / "status");
    usage.context_switches += number_behind(status, "voluntary_ctxt_switches") +
                              number_behind(status, "nonvoluntary_ctxt_switches");
  }
  return usage;
}

std::uint64_t resident_bytes(int pid) {
  return number_behind(read_file("/proc/" + std::to_string(pid) + "/status"), "VmRSS") * 1024;
}

}  // namespace pool_server::bench
