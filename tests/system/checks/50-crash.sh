# Whatever kills the daemon, a working one follows, and the journal tells why.

check 'what kills it cannot be aimed at the shell of the checks' not kill -0 0
require 'the service runs' works

replaced() {  # OLD-PID: a new process runs
  local pid
  pid=$(main_pid)
  [ "$pid" != 0 ] && [ "$pid" != "$1" ] && is SubState running
}

pid=$(main_pid)
signal_main KILL
check 'a client that comes right after SIGKILL is answered' works
check 'by another process' wait_for 5 replaced "$pid"
check 'the journal tells of the signal' log_has 'status=9/KILL'

for round in 1 2 3 4 5 6 7 8; do
  pid=$(main_pid)
  signal_main KILL
  wait_for 5 replaced "$pid" > /dev/null || break
done
check 'eight more within seconds do not exhaust systemd'\''s patience' equal 8 "$round"
check 'and it works' works

watched() {
  [ "$(property WatchdogUSec)" != 0 ] && [ "$(property WatchdogUSec)" != infinity ]
}
check 'systemd watches it' watched
drop_in "$service" '[Service]' 'WatchdogSec=1s'
check 'with a watchdog of one second' systemctl restart "$service"
still_the_same() {
  local pid=$1
  sleep 2.5
  equal "$pid" "$(main_pid)"
}
check 'an idle service feeds it' still_the_same "$(main_pid)"
pid=$(main_pid)
signal_main STOP
check 'a frozen one is replaced' wait_for 15 replaced "$pid"
check 'and works' works
check 'the journal tells why' log_has 'Watchdog timeout'
