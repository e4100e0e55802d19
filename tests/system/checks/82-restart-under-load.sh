# 200 clients of every kind stay connected over twenty restarts, and notice no more than a pause:
# idle ones, and those that have sent half a line, or 500 lines ahead, or do not read their replies,
# or have ended their input, or whose tasks are running; by TCP and by a unix socket. Each reply is
# compared with its request.

# Workers enough for the tasks that sleep: what waits behind them waits at a restart too.
require 'the service runs' for_restart_clients 'workers=32'
measure 'twenty restarts lose nothing' clients quick 200 20 systemctl restart "$service"
check 'all of the journal is restarts in good order' \
  log_has_not 'pool-server.*\(closed [1-9][0-9]* that did not fit\|Failed with\)'
check 'the store is empty again' is NFileDescriptorStore 0

measure 'ten restarts with a thousand' clients quick 1000 10 systemctl restart "$service"

# A backlog is not waited for.
require 'the service runs with short tasks and a long queue' \
  for_restart_clients 'workers=2' 'queue-capacity=10000' 'max-inflight-per-connection=10000'
measure 'ten restarts with 30 s of work queued' clients backlog 60 10 systemctl restart "$service"

# One worker and no time to drain: most requests go to the next process before they are computed.
require 'the same with much left undone' for_restart_clients 'workers=4' 'handover-wait=0'
measure 'five restarts lose nothing' clients quick 200 5 systemctl restart "$service"
check 'requests were carried over' log_has 'handed over [0-9]* connections with [1-9][0-9]* requests'
