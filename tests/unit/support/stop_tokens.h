#pragma once

#include "core/handler.h"

namespace pool_server {

class KeepGoing final : public StopToken {
 public:
  bool stop_requested() const override { return false; }
};

// Set when it has been asked a few times.
class StopSoon final : public StopToken {
 public:
  bool stop_requested() const override { return ++asked_ > 2; }

 private:
  mutable int asked_ = 0;
};

}  // namespace pool_server
