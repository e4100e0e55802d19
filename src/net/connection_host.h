#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string_view>

#include "core/memory_budget.h"
#include "core/read_gate.h"
#include "core/round_budget.h"
#include "core/snapshot.h"
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

// What connections need of the server round them, and tell it. Loop thread only.
class ConnectionHost {
 public:
  // A whole request. False: there is no room for it now; the connection keeps it, reads nothing
  // more, and offers it again when it is told to resume.
  virtual bool on_request(Connection& connection, std::string_view line) = 0;
  // An answer that was owed when the server was restarted. False as above.
  virtual bool on_carried_answer(Connection& connection, const CarriedAnswer& answer) = 0;
  // A line of more than max_line() bytes, which is being skipped.
  virtual void on_line_too_long(Connection& connection) = 0;
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
  // It has lines left over from its turn: give it another one in a later round, by take_turn().
  virtual void on_turn_over(Connection& connection) = 0;
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

 protected:
  ConnectionHost(EventLoop& loop, Timers& timers) : loop_(loop), timers_(timers) {}
  ~ConnectionHost() = default;

 private:
  EventLoop& loop_;
  Timers& timers_;
  BufferPool buffers_;
  RoundBudget budget_;
  MemoryBudget memory_{SIZE_MAX};
};

}  // namespace pool_server
