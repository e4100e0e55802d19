#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "core/options.h"
#include "core/protocol.h"

namespace pool_server {

// What a handler has to say of one task to whoever reads the log. Workers do not log: it rides back
// with the task's run, made when there is something to say and not before. Pure; throws nothing.
//
// Bounded, as a handler may be talkative: kMostLines and kMostBytes, what is over is counted.
class TaskNotes {
 public:
  explicit TaskNotes(std::uint64_t task) : task_(task) {}
  TaskNotes(const TaskNotes&) = delete;  // the lines name bytes of this one
  TaskNotes& operator=(const TaskNotes&) = delete;

  static constexpr std::size_t kMostLines = 8;
  static constexpr std::size_t kMostBytes = 1024;  // of all lines

  struct Line {
    LogLevel level = LogLevel::kInfo;
    std::string_view text;  // without control bytes
  };

  std::uint64_t task() const { return task_; }  // its number

  void add(LogLevel level, std::string_view text) noexcept {
    if (lines_ == kMostLines) {
      left_out_ += text.size();
    } else {
      kept_[lines_++] = {level, keep(text)};
    }
  }
  // Why the handler failed. The first reason counts.
  void fail(std::string_view reason) noexcept {
    if (reason_.empty()) reason_ = keep(reason);
  }

  // The process that worked on it has ended.
  void crash(std::string_view how, std::string_view last_words) noexcept {
    crash_ = keep(how);
    last_words_ = keep(last_words);
  }

  std::span<const Line> lines() const { return std::span(kept_).first(lines_); }
  std::string_view reason() const { return reason_; }  // empty: none was given
  std::string_view crash() const { return crash_; }    // empty: there was none
  std::string_view last_words() const { return last_words_; }
  std::size_t left_out() const { return left_out_; }  // bytes

 private:
  std::string_view keep(std::string_view text) {
    const std::span<char> room = std::span(bytes_).subspan(used_);
    const std::size_t size = std::min(text.size(), room.size());
    std::copy_n(text.begin(), size, room.begin());
    protocol::hide_control_bytes(room.first(size));
    used_ += size;
    left_out_ += text.size() - size;
    return {room.data(), size};
  }

  friend class TaskNotesList;

  const std::uint64_t task_;
  std::unique_ptr<TaskNotes> next_;
  std::array<char, kMostBytes> bytes_;
  std::size_t used_ = 0;
  std::array<Line, kMostLines> kept_;
  std::size_t lines_ = 0;
  std::string_view reason_;
  std::string_view crash_;
  std::string_view last_words_;
  std::size_t left_out_ = 0;
};

// Those of a run, linked: a worker adds to it without any memory.
class TaskNotesList {
 public:
  bool empty() const { return first_ == nullptr; }
  void add(std::unique_ptr<TaskNotes> notes) noexcept {
    notes->next_ = std::move(first_);
    first_ = std::move(notes);
  }
  // Null: there are none of that task.
  const TaskNotes* find(std::uint64_t task) const {
    const TaskNotes* notes = first_.get();
    while (notes != nullptr && notes->task() != task) notes = notes->next_.get();
    return notes;
  }
  void swap(TaskNotesList& other) noexcept { first_.swap(other.first_); }
  void clear() { first_.reset(); }

 private:
  std::unique_ptr<TaskNotes> first_;
};

}  // namespace pool_server
