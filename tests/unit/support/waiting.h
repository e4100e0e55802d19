#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>

namespace pool_server {

// Longer than any machine, sanitizer or debugger's patience needs: only a broken program waits it
// out.
inline constexpr std::chrono::seconds kPatience{30};

// Waits until `holds()`. False: it did not come about.
template <class Condition>
bool eventually(Condition holds) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return true;
}

// Is that thread of this process asleep in the kernel (state S)?
inline bool is_asleep(pid_t thread) {
  std::ifstream stat("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(stat, text);
  const std::size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.substr(name_end, 3) == ") S";
}

}  // namespace pool_server
