#pragma once

#include <cstdint>
#include <string_view>

#include "sys/unique_fd.h"

namespace pool_server::crash_report {

// From here on, a signal that ends the process for a fault of its own (SIGSEGV, SIGBUS, SIGFPE,
// SIGILL, SIGABRT) is told first, and then takes its default action, so that a core is dumped as
// always. The message names `handler` (at most 200 bytes of it), the worker, the task and its
// connection that the thread is in, and what the handler logged last in it; it goes to the journal
// with `message_id` where standard error is connected there, else to standard error. It is dropped,
// never waited for.
//
// A signal for which something else has been set up already, a sanitizer say, is left alone.
// Once, on the main thread, before any other thread starts.
void install(std::string_view handler, std::string_view message_id);

// What the calling thread is doing, for the message.
void begin_task(unsigned worker, std::uint64_t number, std::uint64_t connection);
void end_task();
// The handler has logged this, of which some is kept until the task ends.
void note(std::string_view text);

// While it lives, exit(3) and quick_exit(3), which only a handler calls, on whatever thread, are
// told as a crash is, and end the process with status 1 there and then: other threads are at work
// on what the destructors of static objects, which come next, would take from them. _exit(2) cannot
// be told. In main(), which returns only when it is gone; made and destroyed while there is no
// other thread.
class ExitWatch {
 public:
  ExitWatch();
  ExitWatch(const ExitWatch&) = delete;
  ExitWatch& operator=(const ExitWatch&) = delete;
  ~ExitWatch();

  // What a loaded handler has registered runs before what was registered earlier: from here on,
  // this comes before it.
  static void come_first();

  // In a process that was forked for a handler, where there is nobody to be taken something from:
  // an exit is just that, with its own status, and without what the daemon would have had done at
  // it.
  static void let_pass();
};

// Lets the calling thread tell of its crash when what it has used up is its stack. Made and
// destroyed on that thread.
class AlternateStack {
 public:
  AlternateStack();
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;
  ~AlternateStack();

 private:
  void* memory_ = nullptr;  // null: the thread had one already, or there is no memory for one
  std::size_t size_ = 0;
};

}  // namespace pool_server::crash_report
