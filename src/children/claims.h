#pragma once

#include <cstdint>

#include "sys/unique_fd.h"

namespace pool_server {

// Which of the requests that were sent to a process it has begun with, and which it may still begin
// with: one word, in memory that its worker and the process share.
//
// Requests are numbered, and sent under a generation. The process claims each before it begins with
// it; the worker ends the generation, and knows from the same step how far the process has come:
// what was not claimed by then is the worker's again, and the process passes it over. It is the one
// place with an atomic variable, as the two sides share no lock; in either process one thread
// touches it.
class Claims {
 public:
  // The worker's side: generation 0, and nothing begun. Throws std::system_error.
  Claims();
  // The process' side. Throws std::system_error.
  explicit Claims(int fd);
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;
  ~Claims();

  int fd() const { return fd_.get(); }  // of the worker's side: to be given to the process
  void close_fd() { fd_.reset(); }

  // False: it has been taken back.
  bool claim(std::uint32_t generation, std::uint32_t number) noexcept;
  // Ends the generation. Returns the number after the last one that was claimed.
  std::uint32_t end_generation() noexcept;
  // The same number, as it is now.
  std::uint32_t claimed() const noexcept;

 private:
  void map(int fd);

  UniqueFd fd_;
  std::uint64_t* word_ = nullptr;  // generation and, in its lower half, that number
};

}  // namespace pool_server
