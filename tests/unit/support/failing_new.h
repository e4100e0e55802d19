#pragma once

#include <cstddef>

namespace pool_server {

// Memory that runs out: from here to its end, this thread's `operator new` succeeds `successes`
// times, then fails, once or for good. For tests that are linked with failing_new.cc.
class FailingNew {
 public:
  enum class Then : unsigned char { kRecovers, kStaysOut };

  FailingNew(std::size_t successes, Then then);
  FailingNew(const FailingNew&) = delete;
  FailingNew& operator=(const FailingNew&) = delete;
  ~FailingNew();

  bool failed() const;  // has one failed by now?
};

}  // namespace pool_server
