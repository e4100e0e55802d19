#pragma once

#include <cstring>
#include <span>
#include <string>

namespace pool_server {

// What clients send may be secret, whatever the handler, so nothing of it is kept once it has been
// dealt with: buffers that live on are wiped by whoever empties them, and memory that is given back
// by operator delete (server/wiping_delete.cc). Written so that no compiler leaves it out.

inline void wipe(std::span<char> bytes) {
  ::explicit_bzero(bytes.data(), bytes.size());
}

// Empties `text` too; it keeps its capacity.
inline void wipe(std::string& text) {
  wipe(std::span<char>(text));
  text.clear();
}

}  // namespace pool_server
