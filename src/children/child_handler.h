#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "children/child.h"
#include "children/exchange.h"
#include "children/nursery.h"
#include "children/roster.h"
#include "core/handler.h"
#include "core/ids.h"
#include "sys/unique_fd.h"

namespace pool_server {

// A worker's child, which does the work for its requests: a program, or a process with a handler.
//
// Invariants. A child is used again only if it answered what it was given, and nothing else;
// whatever else it does, it is replaced: nobody gets what was meant for another. A request
// that its child has not begun to read when it ends goes to the next one. handle()
// returns soon after it was interrupted, with the child gone, whatever the child does.
//
// A child that ends without having answered anything is a failure; from the third one in a row on,
// the next start is put off, by twice as long each time up to kLongestPause. What happens to
// requests meanwhile is in roster.h. Who has a request in hand does not wait: it tries once, or
// gives up.
class ChildHandler final : public Handler {
 public:
  static constexpr TimeUs kLongestPause = 5'000'000;
  // One that cannot keep a child alive can, when one has lived for so long without a request.
  static constexpr TimeUs kProbation = 5'000'000;

  // `first`: a child that has been started already, or null.
  ChildHandler(Nursery& nursery, Roster& roster, std::unique_ptr<Exchange> exchange,
               std::unique_ptr<Child> first);
  ChildHandler(const ChildHandler&) = delete;
  ChildHandler& operator=(const ChildHandler&) = delete;
  ~ChildHandler() override { roster_.leave(seat_); }

  void use_log(TaskLog& log) override { log_ = &log; }
  void use_upcoming(Upcoming& upcoming) override { exchange_->use(upcoming); }
  void serve_as(unsigned worker) override;
  bool prepare(const StopToken& closing) override;
  void interrupt() noexcept override { seat_.wake->signal(); }
  Outcome handle(std::string_view request, const StopToken& stop, std::string& reply) override;

 private:
  bool has_child();
  void drop_if_unknown();
  void drop() noexcept;
  void start(const StopToken& stop);
  bool try_start(const StopToken& stop, std::string_view why = {});
  bool is_lost();
  void wait_for_end(const StopToken& stop);
  void adopt(std::unique_ptr<Child> child, std::shared_ptr<const ChildSettings> settings);
  void replace_for_reload(const StopToken& closing);
  void recycle_if_due();
  std::size_t most_ahead() const;
  void count_failure();
  void lose_child(const ChildEnd& end);
  void lose_idle_child(const ChildEnd& end);
  void lose_deaf_child();
  void drop_out_of_step();
  void tell(News kind, std::string_view text, int pid = 0) noexcept;

  Outcome conclude(Exchange::Result result, std::string& reply);
  Outcome blame_end(std::string_view how, const ChildEnd& end, std::string& reply);
  Outcome accept(Exchange::Result result, std::string& reply);
  static Outcome refuse(std::string_view reason, std::string& reply);
  TimeUs end_patience() const;

  Nursery& nursery_;
  Roster& roster_;
  Roster::Seat& seat_;
  const std::unique_ptr<Exchange> exchange_;
  TaskLog* log_ = nullptr;
  std::string label_;

  std::shared_ptr<const ChildSettings> settings_;  // of the child
  std::unique_ptr<Child> child_;
  UniqueFd memory_;           // its /proc/PID/statm, where that is looked at
  bool has_request_ = false;  // the child: where it stands in its streams is not known
  TimeUs started_at_ = 0;
  bool unable_ = false;       // as the roster has it
  std::size_t answered_ = 0;  // requests, by this child
  TimeUs last_answer_ = 0;
  unsigned failures_ = 0;  // in a row
  TimeUs pause_until_ = 0;
};

}  // namespace pool_server
