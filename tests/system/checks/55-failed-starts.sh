# A service that cannot start: what may mend itself is tried again, less and less often; what cannot
# fails for good. Neither fills the journal, and no client waits for what will not come.

lines_since() {  # CURSOR: of all that systemd and the service tell of it
  journal --after-cursor="$1" | grep -c pool-server
}
cursor() {
  journal --lines 0 --show-cursor | sed -n 's/^-- cursor: //p'
}
restarts() {
  [ "$(property NRestarts)" -ge "$1" ]
}

# --- What may mend itself ---
require 'the service runs' works
# Ends before it is ready, as one does whose handler finds its data missing.
drop_in "$service" '[Service]' 'ExecStart=' 'ExecStart=/usr/sbin/pool-server --handler /srv/missing.so'
begin=$(cursor) began=$(now)
check 'a start that fails is told to who asked for it' not systemctl restart "$service"
check 'it is tried again at once' wait_for 2 restarts 1
waits() {
  ask 'good data' > answer
}
waits &
client=$!
sleep "$((6 - ($(now) - began) / 1000000))"
tries=$(property NRestarts)
check "it was tried a few times in 6 s ($tries)" [ "$tries" -ge 2 -a "$tries" -le 4 ]
lines=$(lines_since "$begin")
check "that left a few lines in the journal ($lines)" [ "$lines" -le 45 ]
check 'one says why the next try is later' log_has 'starts failed; the next one is in [0-9]* s'
check 'the service is not given up' is ActiveState activating
rm "/run/systemd/system/$service.d/system-test.conf"
systemctl daemon-reload
began=$(now)
check 'once it is mended a restart does not wait' systemctl restart "$service"
took=$((($(now) - began) / 1000))
check "but comes at once ($took ms)" [ "$took" -lt $((1500 * POOL_SERVER_SLOWDOWN)) ]
wait "$client"
check 'and the client that came meanwhile is answered' equal "$(digest 'good data')" "$(cat answer)"
pid=$(main_pid)
another() {
  [ "$(main_pid)" != 0 ] && [ "$(main_pid)" != "$pid" ] && is SubState running
}
began=$(now)
signal_main KILL
require 'nothing of it is remembered: after a crash' wait_for 5 another
took=$((($(now) - began) / 1000))
check "it is not held back ($took ms)" [ "$took" -lt $((2000 * POOL_SERVER_SLOWDOWN)) ]

# One that dies by a signal is counted, too: before systemd hears of its end, the count is there.
drop_in "$service" '[Service]' 'SystemCallFilter=~epoll_create1' 'SystemCallErrorNumber=kill'
filter_is_tested=yes
begin=$(cursor)
delayed_since() {
  journal --after-cursor="$begin" | grep -q 'starts failed; the next one is in'
}
systemctl restart --no-block "$service"
check 'a start that crashes is paced' wait_for 10 delayed_since
check 'and is stopped in the meantime' systemctl stop "$service"
check 'for good' not is ActiveState activating
no_drop_in "$service"
require 'and started again' systemctl start "$service"

# --- What cannot ---
systemctl stop "$service"
configure 'workers=many'
begin=$(cursor) began=$(now)
check 'who waits for a service with a wrong configuration is not answered' not works
took=$((($(now) - began) / 1000000))
check "but told so soon ($took s)" [ "$took" -lt $((5 * POOL_SERVER_SLOWDOWN)) ]
check 'the service has failed' is ActiveState failed
check 'for good' is ExecMainStatus 2
check 'so has the socket: newcomers are refused' wait_for 5 is Result trigger-limit-hit pool-server.socket
check 'the reason is in the journal' log_has "$config:1:"
lines=$(lines_since "$begin")
check "which is not full of it ($lines)" [ "$lines" -le 60 ]
configure 'workers=2'
check 'with the configuration in order both are started' systemctl start "$service"
check 'and work' works
