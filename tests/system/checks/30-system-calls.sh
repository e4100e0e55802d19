# The list in SystemCallFilter= is exact: each call on it is missed when it is taken away. (That no
# other call is made is checked at the end of every file of checks.)

# shellcheck disable=SC2034  # told to still_clean: here it is on purpose that calls are refused
filter_is_tested=yes
patience=$((2 * POOL_SERVER_SLOWDOWN))

# One client at a time, so that a second one is refused.
configure 'max-connections=1' 'workers=2'
second_client_is_refused() {
  exec {first}<> /dev/tcp/127.0.0.1/9090 &&
    echo good >&"$first" && read -r -t $patience <&"$first" &&
    equal 'ERROR: too many connections' "$(echo good | timeout $patience nc -N localhost 9090)" &&
    exec {first}>&-
}
# The other end of a restart: a client and half its request are carried over.
stays_connected() {
  local reply
  exec {first}<> /dev/tcp/127.0.0.1/9090 && printf 'half ' >&"$first" &&
    systemctl restart "$service" &&
    echo line >&"$first" && read -r -t $patience reply <&"$first" &&
    equal "$(digest 'half line')" "$reply" && exec {first}>&-
}
# More replies than socket buffers hold, read only after a while.
reads_late() {
  equal 20000 "$(yes STATS | head -n 20000 | timeout 10 nc -N 127.0.0.1 9090 |
    { sleep 0.2 && wc -l; })"
}
# A fault signal is told, and then obeyed. With a call missing there may be no process by now.
dies_of_a_crash() {
  signal_main SEGV &&
    wait_for 2 is ActiveState failed &&
    is ExecMainStatus 11 &&
    systemctl reset-failed "$service"
}
exercise() {  # one life of the service, with everything that makes it call the system
  systemctl restart "$service" &&
    dies_of_a_crash &&
    systemctl start "$service" &&
    second_client_is_refused &&
    wait_for 2 has_value ' connections=1 ' one_connection &&
    equal "$(digest good) ERROR: invalid input" \
      "$(printf 'good\nbad\n' | timeout $patience nc -N localhost 9090 | paste -s -d ' ')" &&
    contains "$(timeout $patience nc -N localhost 9090 <<< STATS)" stats: &&
    systemctl reload "$service" &&
    wait_for 5 is SubState running &&
    stays_connected &&
    wait_for 2 has_value ' connections=1 ' one_connection &&
    reads_late &&
    wait_for 2 has_value "$(digest again)" ask again &&
    systemctl stop "$service" &&
    is Result success
}

one_connection() {  # the one that asks
  echo STATS | timeout $patience nc -N localhost 9090 | grep -o ' connections=1 '
}

calls() {
  systemctl show --property SystemCallFilter --value "$service" | tr ' ' '\n'
}
# Those systemd allows to every process; they are not on the list in the unit.
listed() {
  comm -23 <(sed -n 's/^SystemCallFilter=//p' "/lib/systemd/system/$service" | tr ' ' '\n' | sort) \
    <(systemd-analyze syscall-filter @default | sed -n 's/^ *\([a-z0-9_]*\)$/\1/p' | sort)
}
check 'the list is what systemd enforces' \
  equal '' "$(comm -23 <(listed) <(calls | sort))"
check 'it names no call that systemd allows anyway, nor a group' \
  equal "$(listed)" "$(sed -n 's/^SystemCallFilter=//p' "/lib/systemd/system/$service" |
    tr ' ' '\n' | sort)"

# No restarts by systemd: what a missing call breaks is to stay broken.
drop_in "$service" '[Service]' 'Restart=no'
require 'with the whole list everything works' exercise

# Killed by SIGSYS, 31; or 228, where systemd's own steps before the program need the call. Told by
# the journal, since a client still waiting makes the socket start the service again at once.
refusals() {
  journal --unit "$service" --grep 'status=(31/SYS|228/SECCOMP)' | wc -l
}
killed_without() {
  local before after
  before=$(refusals)
  drop_in "$service" '[Service]' 'Restart=no' "SystemCallFilter=~$1"
  exercise
  after=$(refusals)
  # The socket too, for no client to be left over.
  systemctl stop pool-server.socket "$service"
  systemctl reset-failed pool-server.socket "$service"
  systemctl start pool-server.socket
  [ "$after" -gt "$before" ]
}
# What only handlers in processes of their own need: they are not the main process, so nothing but
# what does not work any more tells.
of_processes=$(sed -n '/^# Of handlers in processes/,$s/^SystemCallFilter=//p' "/lib/systemd/system/$service")
number=0
for call in $(listed); do
  case " $of_processes " in *" $call "*) continue ;; esac
  number=$((number + 1))
  check "it needs $call" killed_without "$call"
done
check "there were some ($number)" [ "$number" -gt 20 ]

require 'there are some for processes' [ "$(wc -w <<< "$of_processes")" -gt 5 ]
exercise_processes() {  # one is killed, one ends, and all are replaced
  systemctl restart "$service" &&
    wait_for 2 has_value 'result: good' ask 'echo good' &&
    has_value 'ERROR: timed out after 200 ms' ask 'hang 60000' &&
    wait_for 2 has_value 'result: again' ask 'echo again' &&
    systemctl reload "$service" &&
    wait_for 5 log_has 'has been loaded anew' &&
    wait_for 2 has_value 'result: more' ask 'echo more' &&
    systemctl stop "$service" &&
    is Result success
}
configure 'handler=drill' 'isolate=yes' 'workers=2' 'task-timeout=200ms' 'kill-grace=50ms'
drop_in "$service" '[Service]' 'Restart=no'
require 'with the whole list processes work, too' exercise_processes
fails_without() {
  drop_in "$service" '[Service]' 'Restart=no' "SystemCallFilter=~$1"
  local works=yes
  exercise_processes || works=no
  systemctl stop pool-server.socket "$service"
  systemctl reset-failed pool-server.socket "$service"
  systemctl start pool-server.socket
  [ "$works" = no ]
}
for call in $of_processes; do
  check "they need $call" fails_without "$call"
done
configure

no_drop_in "$service"
systemctl reset-failed "$service"
check 'and with the whole list again it works' works
