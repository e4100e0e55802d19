#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>

#include "core/memory_budget.h"
#include "core/read_gate.h"
#include "core/round_budget.h"
#include "loop/event_loop.h"
#include "loop/timers.h"
#include "net/buffer_pool.h"

namespace pool_server {

class Connection;

// How long a client may do nothing, in µs; 0: as long as it likes.
struct ConnectionTimeouts {
  TimeUs idle = 0;  // no request, no reply, nothing under way
  TimeUs line = 0;  // a line begun and not completed, while it would be read
  TimeUs send = 0;  // replies not read
};
enum class Expiry : unsigned char { kIdle, kLine, kSend };
// Whose visit it is that a connection is ready for.
enum class Ready : unsigned char {
  kReadable,  // it has sent something: in this round
  kLeftOver,  // it has had a turn: behind the others that have, when there is time
};

// What the connection that is being heard may still give in this visit, so that not all of it is
// looked up anew for each line.
struct VisitAllowance {
  bool known = false;
  std::size_t requests = 0;
  std::size_t owed = 0;    // bytes that it may be owed: the last request may exceed them
  std::size_t memory = 0;  // bytes: see Connection::room_to_admit()
  // For the next request, too: no exception is made for the first one, or for who has nothing.
  bool holds = false;

  void take(std::size_t charge) {
    known = known && holds;
    requests -= std::min<std::size_t>(requests, 1);
    owed -= std::min(owed, charge);
    memory -= std::min(memory, charge);
  }
};

// What connections need of the server round them, and tell it. Loop thread only.
class ConnectionHost {
 public:
  // It can be read from, or has something left over: it is to be visited before long, by
  // Connection::begin_visit(), in its turn.
  virtual void on_ready(Connection& connection, Ready how) = 0;
  // Its proxy's header has come: peer() is the client. The host may refuse it.
  virtual void on_client_known(Connection& connection) = 0;
  // What comes from that proxy begins with no header that one could believe.
  virtual void on_bad_header(Connection& connection) = 0;
  virtual void on_received(Connection& connection, std::size_t bytes) = 0;
  virtual void on_sent(Connection& connection, std::size_t bytes) = 0;
  // The memory of all clients is short, and this one may have no more of it for now. It is to be
  // told by memory_may_be_free() before long.
  virtual void on_starved(Connection& connection) = 0;
  // There is something to flush or to reconsider at the end of this round.
  virtual void on_changed(Connection& connection) = 0;
  // Something of its could not be done (attempt() has caught `error`): it is to be closed, whatever
  // state it is in. Throws nothing.
  virtual void on_failed(Connection& connection, const std::exception& error) = 0;
  // The descriptor is closed; the object goes at the end of the round. `broken`: reset or timed
  // out, as opposed to an end in good order.
  virtual void on_closed(Connection& connection, bool broken) = 0;

  virtual std::size_t max_line() const = 0;  // bytes
  virtual const ConnectionLimits& limits() const = 0;
  virtual const ConnectionTimeouts& timeouts() const = 0;
  // A time-out passed; the host ends the connection as it sees fit.
  virtual void on_expired(Connection& connection, Expiry expiry) = 0;

  EventLoop& loop() { return loop_; }
  Timers& timers() { return timers_; }
  BufferPool& buffers() { return buffers_; }
  // What connections may still do in this round. The host refills it.
  RoundBudget& budget() { return budget_; }
  MemoryBudget& memory() { return memory_; }
  VisitAllowance& allowance() { return allowance_; }

 protected:
  ConnectionHost(EventLoop& loop, Timers& timers) : loop_(loop), timers_(timers) {}
  ~ConnectionHost() = default;

 private:
  EventLoop& loop_;
  Timers& timers_;
  BufferPool buffers_;
  RoundBudget budget_;
  MemoryBudget memory_{SIZE_MAX};
  VisitAllowance allowance_;
};

}  // namespace pool_server
