#pragma once

#include <algorithm>
#include <cstddef>

namespace pool_server {

// How much the loop does for one kind of clients in a round (those of whom it reads, those that
// wait for the queue, those that have something left over), so that a round, and with it the answer
// to a client that asks one thing, takes some milliseconds at most whatever all the others send.
// Pure.
//
// Lines count whoever answers them: a refusal costs the loop as much as handing a task over. A
// connection takes a turn of them at a time; what it has left over waits for another round, behind
// the others that do, as do those that send faster than is read. The least is given even when the
// budget is used up: a client that asks for little is served in the round in which it asks.
class RoundBudget {
 public:
  // A turn is long enough for one send to be worth its cost, and eight of them fill a budget.
  static constexpr std::size_t kLinesOfTurn = 128;
  static constexpr std::size_t kLinesOfRound = 1024;
  static constexpr std::size_t kFewestLines = 4;
  // Received: what takes about as long as those lines do.
  static constexpr std::size_t kBytesOfRound = 512 * 1024;
  static constexpr std::size_t kFewestBytes = 4096;

  void refill() { *this = RoundBudget(); }

  bool used_up() const { return lines_ == 0 || bytes_ == 0; }
  // What one visit to a connection may take, in lines, and of its socket, in bytes.
  std::size_t lines_of_visit() const {
    return std::max(std::min(lines_, kLinesOfTurn), kFewestLines);
  }
  std::size_t bytes_of_visit() const { return std::max(bytes_, kFewestBytes); }

  void spend_lines(std::size_t count) { lines_ -= std::min(lines_, count); }
  void spend_bytes(std::size_t count) { bytes_ -= std::min(bytes_, count); }

 private:
  std::size_t lines_ = kLinesOfRound;
  std::size_t bytes_ = kBytesOfRound;
};

}  // namespace pool_server
