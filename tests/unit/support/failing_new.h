#pragma once

namespace pool_server {

// Executables that link failing_new.cc have an operator new that can be made to fail.

// While it lives, operator new fails on every thread but the one that made it.
class NoMemoryElsewhere {
 public:
  NoMemoryElsewhere();
  NoMemoryElsewhere(const NoMemoryElsewhere&) = delete;
  NoMemoryElsewhere& operator=(const NoMemoryElsewhere&) = delete;
  ~NoMemoryElsewhere();
};

// While it lives, the `count`th operator new from now on fails on the calling thread; that one
// only.
class OneFailure {
 public:
  explicit OneFailure(int count);
  OneFailure(const OneFailure&) = delete;
  OneFailure& operator=(const OneFailure&) = delete;
  ~OneFailure();
  // So many were asked for that it has come.
  bool came() const;
};

}  // namespace pool_server
