# The monitor's socket: off as installed; to enable it and to restart the service is all it takes.

# visit PATH [NC-ARGUMENTS]: what the monitor answers.
visit() {
  local path=$1
  shift
  [ $# -gt 0 ] || set -- 127.0.0.1 9089
  printf 'GET %s HTTP/1.0\r\n\r\n' "$path" | timeout 10 nc -N "$@" | sed '1,/^\r$/d'
}
metric() {  # NAME [NC-ARGUMENTS]
  local name=$1
  shift
  visit /metrics "$@" | sed -n "s/^$name //p"
}
loaded() {  # UNIT
  grep -q microhttpd "/proc/$(main_pid "$1")/maps"
}
exposure() {
  systemd-analyze security --no-pager "$service" | sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p'
}
nobody_listens() {
  equal '' "$(ss -Hltn 'sport = 9089')"
}

require 'the service runs' systemctl start "$service"
check 'the monitor is not enabled' has_value disabled systemctl is-enabled pool-server-monitor.socket
check 'nobody listens' nobody_listens
check 'and nothing of it is loaded' not loaded "$service"
mounts=$(wc -l < "/proc/$(main_pid)/mountinfo")

check 'it is enabled' systemctl enable pool-server-monitor.socket
check 'a restart costs clients nothing' half_a_line_survives_a_restart
check 'and the monitor is there' has_value ready visit /readyz
check 'at its other port' has_value ready visit /readyz ::1 9089
check 'and at its file' has_value ready visit /readyz -U /run/pool-server/monitor.sock
check 'it counts from before the restart' has_value 1 metric pool_server_restarts_survived_total
check 'it has kept the client' has_value 1 metric pool_server_connections_carried_total
check 'it knows its memory' not equal 0 "$(metric pool_server_process_resident_memory_bytes)"
check 'the sandbox is as tight' has_value 0.1 exposure
check 'it is loaded' loaded "$service"
check 'the service works' works
check 'nothing was wrong' not event monitor-failed
check 'once more' half_a_line_survives_a_restart
check 'and it goes on to count' has_value 2 metric pool_server_restarts_survived_total

require 'the service is stopped' systemctl stop "$service"
check 'the monitor goes with it' nobody_listens
check 'who scrapes does not start it' not nc -z 127.0.0.1 9089
check 'but a client does' works
check 'and the monitor is back' wait_for 5 has_value ready visit /readyz
signal_main KILL
check 'and after a crash' wait_for 10 has_value ready visit /readyz
check 'a service that does not run is started by a look at it' systemctl stop pool-server.socket "$service"
check 'its sockets wait' systemctl start pool-server.socket pool-server-monitor.socket
check 'and so it is' has_value ready visit /readyz

printf '%s\n' 'handler=drill' 'workers=1' > /etc/pool-server/one.conf
check 'an instance' systemctl enable --now pool-server@one.socket
check 'with a monitor' systemctl enable pool-server-monitor@one.socket
check 'is started' systemctl restart pool-server@one.service
check 'and tells of itself' contains "$(visit /state.json -U /run/pool-server/monitor-one.sock)" '"handler":"drill"'
check 'to who may read logs' equal '660 root adm' "$(stat -c '%a %U %G' /run/pool-server/monitor-one.sock)"

printf '%s\n' 'program=/bin/cat' 'workers=2' > /etc/pool-server/program/cat.conf
check 'a pool of programs' systemctl enable --now pool-server-program@cat.socket
check 'with a monitor as well' systemctl enable pool-server-program-monitor@cat.socket
check 'is started too' systemctl restart pool-server-program@cat.service
programs_are_seen() {
  [ "$(metric pool_server_programs_resident_memory_bytes -U /run/pool-server/program/monitor-cat.sock)" -gt 100000 ]
}
check 'and tells of its programs' wait_for 10 programs_are_seen

require 'a newer package is made' newer_package newer monitor
check 'an upgrade' installs ./newer.deb
check 'keeps the monitor' wait_for 5 has_value ready visit /readyz
check 'and that of the instance' wait_for 5 has_value ready visit /readyz -U /run/pool-server/monitor-one.sock

check 'it is disabled' systemctl disable --now pool-server-monitor.socket
check 'with a restart' systemctl restart "$service"
check 'nobody listens any more' nobody_listens
check 'nothing of it is loaded' not loaded "$service"
check 'or in sight' equal "$mounts" "$(wc -l < "/proc/$(main_pid)/mountinfo")"

check 'without the package' apt-get purge -y pool-server
check 'no socket is left' has_value '' systemctl list-units --no-legend --plain 'pool-server*'
check 'nor what enabled it' has_value '' find /etc/systemd /run/systemd/generator -name '*pool-server*'
