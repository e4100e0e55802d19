#pragma once

#include <memory>
#include <string>

#include "core/history.h"
#include "core/ids.h"
#include "core/metrics.h"
#include "core/server_state.h"
#include "monitor/http.h"

namespace pool_server {

// Where the numbers come from. Loop thread only.
class MonitorSource {
 public:
  // All but `wait`, `run` and `not_ready_because`. Allocates, and looks at all workers and at some
  // of the clients.
  virtual ServerState state() = 0;
  // The monitor has something to tell the operator.
  virtual void on_trouble(const std::string& what) = 0;

 protected:
  ~MonitorSource() = default;
};

// What there is to be had, at which path. Whatever is asked and however often, the numbers are
// looked at and written down anew once in kFresh at most.
class Endpoints {
 public:
  static constexpr TimeUs kFresh = 50'000;

  Endpoints(MonitorSource& source, TimeUs now);

  HttpReply answer(const HttpRequest& request, TimeUs now);
  // To be called once in History::kStep.
  void end_step(TimeUs now);

 private:
  using Body = std::shared_ptr<const std::string>;

  const ServerState& state(TimeUs now);
  void look(TimeUs now);
  HttpReply ready(TimeUs now);
  Body metrics(MetricsFormat format, TimeUs now);

  MonitorSource& source_;
  ServerState state_;
  TimeUs looked_at_ = kNever;
  FullQueue full_queue_;
  History history_;
  // Of state_; null: not written yet.
  Body state_json_;
  Body prometheus_;
  Body open_metrics_;
  const Body page_;
};

}  // namespace pool_server
