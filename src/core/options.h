#pragma once

#include <climits>
#include <cstddef>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/proxy_sources.h"

namespace pool_server {

enum class Overload : unsigned char { kWait, kReject };
enum class ProgramProtocol : unsigned char { kLines, kFrames };
enum class LogLevel : unsigned char { kDebug, kInfo, kWarning, kError };

// Every setting, with the reason for its default. The command line, the configuration file, --help
// and the manual pages are made from or checked against this list (see server/option_list.cc).
struct Options {
  // Where to listen: PORT, HOST:PORT, [IPv6]:PORT or /PATH. Empty: the sockets passed by systemd,
  // or else `port` on localhost.
  std::vector<std::string> listen;
  // 9090 on 127.0.0.1 and ::1: reachable by every local user, by no one else.
  unsigned port = 9090;

  // Where to tell how it fares, as for `listen`: over HTTP, to whoever may connect there. Empty: on
  // the sockets that systemd passes for it, or nowhere, as what is told is not for everybody.
  std::vector<std::string> monitor;

  // Where balancers ask how much work to send here, as for `listen`: a line, as HAProxy's
  // agent-check wants it. Empty: on the sockets that systemd passes for it, or nowhere.
  std::vector<std::string> agent;
  // The requests a second that are its 100%: what the fastest machine of the fleet does, so that
  // slower ones say less. 0: what this server has been seen to do, which needs no thought, and
  // tells when it has become slower, but not that it always was.
  unsigned agent_full_rate = 0;

  // Fewer than cores wastes them; more only helps tasks that wait. Equal limits: a fixed pool.
  unsigned min_workers = 4;
  unsigned max_workers = 4;
  // Tasks that wait for a worker. Deep enough to ride out a burst, shallow enough that 1 ms tasks
  // on 4 workers wait a quarter of a second at worst.
  std::size_t queue_capacity = 1024;
  // A worker that was not needed for this long goes, down to min_workers. 0: at the next look.
  TimeUs worker_idle_timeout = 10'000'000;
  // How long a task may run, from its begin on a worker. 0: as long as it takes.
  // In a process, which can be ended, kProcessTimeout unless something else is asked for: nothing
  // but the one request is lost by it.
  TimeUs task_timeout = 0;
  static constexpr TimeUs kProcessTimeout = 30'000'000;

  // What happens to a request that does not fit into the queue: its client is not read from until
  // there is room, which costs nobody anything, or it is answered "server busy" at once, which
  // suits clients that have somewhere else to go.
  Overload overload = Overload::kWait;
  // How long a task may wait for a worker; 0: as long as it takes, since under kWait the client is
  // slowed down instead.
  TimeUs queue_timeout = 0;
  // The standing wait above which tasks are shed (see core/standing_wait.h); 0: never.
  TimeUs queue_target = 0;
  // Requests of one connection that may be unanswered; what comes then is not read. As many as the
  // queue holds: round-robin order keeps such a client from delaying the others.
  std::size_t max_inflight_per_connection = 1024;
  // Workers given up because their task does not end, and replaced, at the same time. kAsWorkers:
  // as many as max_workers, so that a bad batch of tasks can be outlived once.
  static constexpr unsigned kAsWorkers = UINT_MAX;
  unsigned max_stuck_workers = kAsWorkers;

  // A built-in work function, a plug-in in the handlers' directory, or a plug-in's path.
  std::string handler = "digest";
  // KEY=VALUE, for the handler to interpret.
  std::vector<std::string> handler_options;
  // A command instead of a handler: each worker keeps a process of it alive, and gives it requests
  // as lines. Empty: there is none.
  std::string program;
  // How it gets them: as lines, which any filter does, or as frames, for text with any bytes.
  ProgramProtocol program_protocol = ProgramProtocol::kLines;
  // Run the handler in processes of their own, one for each worker, so that a crash, a hang or a
  // leak of it costs a request and not the service. For plug-ins, unless something else is asked
  // for: a request then takes some 10 µs more. What is built in is ours to keep from that.
  bool isolate = false;
  // How long such a process may take to end when it is told to: enough to say goodbye to others,
  // too little to be noticed by who waits for the worker.
  TimeUs kill_grace = 100'000;
  // It is replaced after so many requests, or once it has so many bytes resident;
  // 0: it is kept, as most do not leak.
  std::size_t worker_max_tasks = 0;
  std::size_t worker_max_memory = 0;
  // A hard bound for the address space of such a process; 0: none, as runtimes reserve far more
  // than they use.
  std::size_t worker_memory_limit = 0;

  // Of one reply of a plug-in or a program, without prefix and line end: as long as a request may
  // be.
  std::size_t max_reply = 64 * 1024;

  // Of one request, without its line end; 64 KiB is far above what a line-based client sends.
  std::size_t max_line = 64 * 1024;
  // Together with the file descriptors of the server itself this must stay below `ulimit -n`.
  std::size_t max_connections = 4096;
  // Of one IP address, or one user on a unix socket. 0: no limit, as all clients of a proxy, and
  // all on this machine, share one address.
  std::size_t max_connections_per_peer = 0;
  // Clients come through a proxy that says who they are, by a header before their first byte: of
  // those sources, and of no other, as who tells what it likes could be anybody.
  bool proxy_protocol = false;
  ProxySources proxy_sources;
  // What may be unsent, unanswered or on its way for one client, in bytes, before nothing more is
  // read from it. A request that is not answered counts with the longest reply it can have.
  std::size_t max_unsent = 1 << 20;
  // What requests and replies of all clients together may take, in bytes, what may come of requests
  // in flight included; the greediest are stopped first (see core/memory_budget.h).
  // kShareOfMemory: a quarter of the memory that this process may use, which leaves as much again
  // for what the allocator cannot reuse, and half for others.
  static constexpr std::size_t kShareOfMemory = 0;
  std::size_t max_memory = kShareOfMemory;
  // How long a client may take to complete a line that it has begun: nobody types that slowly, and
  // who holds a connection that way wants to hold it. 0: any time.
  TimeUs line_timeout = 60'000'000;
  // How long a client may leave its replies unread. 0: for ever.
  TimeUs send_timeout = 60'000'000;
  // A connection without a request or reply for this long is closed. 0: never.
  TimeUs idle_timeout = 0;
  // At a restart, leave the connections with the service manager for the next start, if it keeps
  // descriptors: it then costs the clients nothing but a pause.
  bool preserve_connections = true;
  // How long a stop may take for the work that was accepted, and for clients to read what is owed.
  // 0: nothing is waited for; there is no value for "however long", as the service manager waits no
  // longer than TimeoutStopSec= either.
  TimeUs drain_timeout = 30'000'000;
  // At a restart, how long running tasks may take to end before they are left to the next process,
  // which computes them again: most tasks are shorter, and a client hardly notices the pause.
  TimeUs handover_wait = 100'000;

  LogLevel log_level = LogLevel::kInfo;
  // Tell who connects at the level of info rather than debug: for those who want to know it for
  // every client, and have few enough of them.
  bool log_connections = false;

  // These were asked for, be it what is the default anyway.
  bool handler_given = false;
  bool task_timeout_given = false;
  bool isolate_given = false;

  // The work is done in processes of their own, of a program or of a handler.
  bool in_processes() const { return isolate || !program.empty(); }
};

}  // namespace pool_server
