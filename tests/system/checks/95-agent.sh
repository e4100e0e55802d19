# The agent's socket: off as installed; to enable it and to restart the service is all it takes.

# agent [NC-ARGUMENTS]: what balancers are told.
agent() {
  [ $# -gt 0 ] || set -- 127.0.0.1 9079
  timeout 10 nc -N "$@" < /dev/null
}
nobody_listens() {
  equal '' "$(ss -Hltn 'sport = 9079')"
}

require 'the service runs' systemctl start "$service"
check 'the agent is not enabled' has_value disabled systemctl is-enabled pool-server-agent.socket
check 'nobody listens' nobody_listens
mounts=$(wc -l < "/proc/$(main_pid)/mountinfo")

check 'it is enabled' systemctl enable pool-server-agent.socket
check 'a restart costs clients nothing' half_a_line_survives_a_restart
check 'and the agent is there' has_value 'up 100% ready' agent
check 'at its other port' has_value 'up 100% ready' agent ::1 9079
check 'it has a sandbox as small as before' equal "$mounts" "$(wc -l < "/proc/$(main_pid)/mountinfo")"
check 'nothing was wrong' not event agent-failed

# systemd opens the agent's sockets anew, as they are a part of the service: who asks in between finds
# nobody, which says nothing to HAProxy.
asks_all_the_while() {
  local heard=''
  systemctl restart "$service" &
  while [ -n "$(jobs -rp)" ]; do
    heard+=$(agent || true)$'\n'
  done
  wait
  equal 'up 100% ready' "$(sort -u <<< "$heard" | grep .)"
}
check 'who asks during a restart hears nothing of it' asks_all_the_while

signal_main USR2
check 'a lame duck says drain' wait_for 5 has_value drain agent
check 'and serves whoever comes' works
check 'it is restarted' systemctl restart "$service"
check 'and none any more' has_value 'up 100% ready' agent
signal_main USR2
check 'once more' wait_for 5 has_value drain agent
signal_main USR2
check 'and back' wait_for 5 has_value 'up 100% ready' agent

require 'the service is stopped' systemctl stop "$service"
check 'the agent goes with it' nobody_listens
check 'who asks does not start it' not nc -z 127.0.0.1 9079
check 'but a client does' works
check 'and the agent is back' wait_for 5 has_value 'up 100% ready' agent
signal_main KILL
check 'and after a crash' wait_for 10 has_value 'up 100% ready' agent

check 'the monitor is enabled, too' systemctl enable pool-server-monitor.socket
check 'a restart' systemctl restart "$service"
check 'and both are there' has_value 'up 100% ready' agent
check 'each at its own' contains "$(printf 'GET /readyz HTTP/1.0\r\n\r\n' | timeout 10 nc -N 127.0.0.1 9089)" ready

printf '%s\n' 'handler=drill' 'workers=1' > /etc/pool-server/one.conf
check 'an instance' systemctl enable --now pool-server@one.socket
check 'with an agent' systemctl enable pool-server-agent@one.socket
check 'is started' systemctl restart pool-server@one.service
check 'and tells of itself' has_value 'up 100% ready' agent -U /run/pool-server/agent-one.sock
check 'to who may read logs' equal '660 root adm' "$(stat -c '%a %U %G' /run/pool-server/agent-one.sock)"

printf '%s\n' 'program=/bin/cat' 'workers=2' > /etc/pool-server/program/cat.conf
check 'a pool of programs' systemctl enable --now pool-server-program@cat.socket
check 'with an agent as well' systemctl enable pool-server-program-agent@cat.socket
check 'is started too' systemctl restart pool-server-program@cat.service
check 'and tells of itself' has_value 'up 100% ready' agent -U /run/pool-server/program/agent-cat.sock

require 'a newer package is made' newer_package newer agent
check 'an upgrade' installs ./newer.deb
check 'keeps the agent' wait_for 5 has_value 'up 100% ready' agent
check 'and that of the instance' wait_for 5 has_value 'up 100% ready' agent -U /run/pool-server/agent-one.sock

check 'it is disabled' systemctl disable --now pool-server-agent.socket
check 'with a restart' systemctl restart "$service"
check 'nobody listens any more' nobody_listens

check 'without the package' apt-get purge -y pool-server
check 'no socket is left' has_value '' systemctl list-units --no-legend --plain 'pool-server*'
check 'nor what enabled it' has_value '' find /etc/systemd /run/systemd/generator -name '*pool-server*'
