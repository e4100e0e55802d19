#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace pool_server {

// What all clients together may have the server hold, in bytes, and how it is shared out when it
// gets short. Pure; one thread.
//
// Half of it is for whoever comes first, the next quarter for whoever comes first of those who hold
// nothing, or, for a request that is here, are owed nothing. Of the last quarter each client that
// there may be has an equal share, which nobody can take from it: beside any number of greedy
// clients there is room for one that asks for little.
//
// What is charged is what may come, not what is there: a request is charged with the longest reply
// that it can have from the moment it is admitted (see HandlerModule::longest_reply). Only answers
// of the loop's own, which are short, may exceed the limit, and what else would wait for itself:
// one request at a time while all that is held is input, and of one client the line that it has
// begun.
class MemoryBudget {
 public:
  // One client's part of it.
  struct Account {
    std::size_t bytes = 0;
    std::size_t owed = 0;  // of them: for requests that are admitted, and their replies
  };

  explicit MemoryBudget(std::size_t limit) : limit_(limit) {}

  // `clients`: so many there may be at once, each with a share of its own.
  void set_limit(std::size_t limit, std::size_t clients) {
    limit_ = limit;
    clients_ = clients;
  }
  std::size_t limit() const { return limit_; }
  std::size_t held() const { return held_; }

  void open(Account&) { ++accounts_; }
  void close(Account& account) {
    set(account, 0, 0);
    --accounts_;
  }
  // What is held, or may come, for this client: its input, and what it is owed.
  void set(Account& account, std::size_t input, std::size_t owed) {
    held_ += input + owed - account.bytes;  // modulo 2^n, and right in the end
    owed_ += owed - account.owed;
    account = {.bytes = input + owed, .owed = owed};
    if (input > 0 && first_ == nullptr) first_ = &account;
    if (input == 0 && first_ == &account) first_ = nullptr;
  }

  // How many bytes of input may come on top for this client.
  std::size_t room_to_read(const Account& account) const {
    return first_ == &account ? SIZE_MAX : room_for(account, account.bytes == 0);
  }

  // How many bytes a request may be charged with, of which the text is here already.
  std::size_t room_to_admit(const Account& account) const {
    return owed_ == 0 ? SIZE_MAX : room_for(account, account.owed == 0);
  }

 private:
  // If nothing at all is held, any number: to wait would not make it better.
  std::size_t room_for(const Account& account, bool is_new) const {
    const std::size_t half = limit_ / 2;
    if (held_ == 0) return SIZE_MAX;
    if (held_ < half && half - held_ >= kAmple) return half - held_;  // nearly always
    const std::size_t quarter = limit_ / 4;
    const std::size_t first_come = left(held_, is_new ? limit_ - quarter : half);
    const std::size_t share = quarter / std::max<std::size_t>({clients_, accounts_, 1});
    return std::max(first_come, left(account.bytes, share));
  }

  // So much left for whoever comes first is more than any share that would matter.
  static constexpr std::size_t kAmple = std::size_t{256} << 20;  // bytes

  static std::size_t left(std::size_t taken, std::size_t of) { return of - std::min(taken, of); }

  std::size_t limit_;
  std::size_t clients_ = 0;
  std::size_t held_ = 0;  // the sum of the accounts
  std::size_t owed_ = 0;
  const Account* first_ = nullptr;  // of those that hold input now, who was there first
  std::size_t accounts_ = 0;        // those that are open
};

}  // namespace pool_server
