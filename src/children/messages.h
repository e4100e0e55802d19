#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/ids.h"

// What the daemon and its nursery say to each other, and a worker to a child that is no program.
// All are the same program, forked, so a message is a structure as it is in memory, and text after
// it.
//
//   control   daemon → nursery: a SpawnHeader with the descriptors of a child to be. Its end of
//             file: the daemon has gone, and so goes all.
//   lifeline  one for each child. Worker → nursery: an Order. Nursery → worker: Started, then
//             Ended. The worker lets a child go by closing it.
//   start     a pipe of each child's start: a StartReport; of a program only if it does not run.
//   news      nursery or worker → loop: a NewsHeader, the child's label, NUL, and text.
//   requests  a socket of each child that is no program. Worker → child: a TaskHeader and a piece
//             of a request. Child → worker: the same with a piece of its reply, or of its log.
namespace pool_server {

inline constexpr std::size_t kMostSpawnBytes = 64 * 1024;  // of a SpawnHeader and what follows it

enum class SpawnKind : std::uint32_t {
  kProgram,  // its words are a command; descriptors: standard input and output
  kKeeper,   // a nursery that has a handler loaded: its name and options; descriptor: its control
  kHandler,  // of a keeper: a process that runs the handler; descriptors: requests and claims
};

// Followed by the child's label and its words, each ended by NUL. Descriptors: lifeline, start, and
// those of its kind.
struct SpawnHeader {
  SpawnKind kind = SpawnKind::kProgram;
  std::uint32_t words = 0;
  std::uint32_t frames = 0;         // not 0: it is told that it is to speak in frames
  std::uint64_t max_reply = 0;      // of a keeper's handler
  TimeUs grace = 0;                 // between SIGTERM, or the end of its input, and SIGKILL
  std::uint64_t address_space = 0;  // RLIMIT_AS in bytes; 0: as it is
};

enum class Order : char {
  kTerminate = 'T',  // SIGTERM, and SIGKILL after the grace
  kKill = 'K',
};

struct Started {
  std::int32_t pid = 0;
};

// Followed by what it wrote last to its standard error, in one line.
struct Ended {
  std::int32_t wait_status = 0;
};

// Followed by what is wrong, in words, where errno does not say it.
struct StartReport {
  enum class Kind : std::uint32_t { kRuns, kError, kRefused, kConfiguration };
  Kind kind = Kind::kRuns;
  std::int32_t error = 0;  // errno, of kError
};

struct TaskHeader {
  enum class Kind : std::uint32_t {
    kPiece,   // more of it follows
    kWhole,   // ... or not: of a request, or of a reply that is a result and took `detail` µs,
    kError,   // ... an error that did,
    kThrown,  // ... or why there is none
    kLog,     // a line, of the level `detail`
    kFailed,  // a reason, as TaskLog::failed()
  };
  Kind kind = Kind::kWhole;
  std::uint32_t detail = 0;
  // Of the request, which its reply names as well, see claims.h.
  std::uint32_t generation = 0;
  std::uint32_t number = 0;
};
// Of a message of requests, together with its header: far below what a socket's buffer holds.
inline constexpr std::size_t kMostTaskBytes = 32 * 1024;
inline constexpr std::size_t kMostTaskPiece = kMostTaskBytes - sizeof(TaskHeader);

enum class News : std::uint32_t {
  kLine,        // of a child's standard error
  kLeftOut,     // `count` such lines were not told
  kEnded,       // a child that its worker has not let go
  kIdleEnd,     // told by the worker: it ended while it had no request; text says how
  kOutOfStep,   // ... it wrote more than one line for a request, and is replaced
  kNotStarted,  // ... it could not be started; text says why
  kReplaced,    // ... another has taken its place; text says why
};

struct NewsHeader {
  News kind = News::kLine;
  std::int32_t pid = 0;
  std::uint64_t count = 0;
};

template <class T>
void append_raw(std::string& out, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// False: it is too short, or not the whole of it is there.
template <class T>
bool take_raw(std::string_view& bytes, T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return true;
}

}  // namespace pool_server
