#pragma once

#include <cstdint>
#include <string_view>

#include "sys/unique_fd.h"

namespace pool_server::crash_report {

// From here on, a signal that ends the process for a fault of its own (SIGSEGV, SIGBUS, SIGFPE,
// SIGILL, SIGABRT) is told first, and then takes its default action, so that a core is dumped as
// always. The message names `handler` (at most 200 bytes of it), and the worker and the task that
// the thread is in; it goes to the journal with `message_id` where standard error is connected
// there, else to standard error. It is dropped, never waited for. Where another process has sent
// the signal, the service manager's watchdog say, the message tells that instead.
//
// A signal for which something else has been set up already, a sanitizer say, is left alone.
// Once, on the main thread, before any other thread starts.
void install(std::string_view handler, std::string_view message_id);

// What the calling thread is doing, for the message.
void begin_task(unsigned worker, std::uint64_t number);
void end_task();

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
