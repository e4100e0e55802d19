# systemctl reload: settings change in place, no client is dropped, a broken file changes nothing.

configure 'handler=drill' 'workers=2'
require 'the service runs with its configuration' has_value 'result: hello' ask 'echo hello'
pid=$(main_pid)

# A client that stays connected over all that follows.
coproc client { exec nc localhost 9090; }
exec {to_client}>&"${client[1]}" {from_client}<&"${client[0]}"
still_answers() {
  local reply
  echo "echo $1" >&"$to_client"
  read -r -t 10 reply <&"$from_client" && equal "result: $1" "$reply"
}
require 'a client is connected' still_answers before

configure 'handler=drill' 'workers=3' 'queue-capacity=77' 'max-line=100'
check 'reload' systemctl reload "$service"
check 'is reported' wait_for 5 event reloaded
check 'the service counts as running again' wait_for 5 is SubState running
check 'the number of workers changes in place' wait_for 5 has_value 3 stat_value workers
check 'so does the capacity of the queue' has_value 77 stat_value queue_capacity
check 'so does the limit on lines' \
  has_value 'ERROR: line too long (max 100 bytes)' ask "echo $(printf '%0200d' 0)"
check 'the client is still there' still_answers after

configure 'handler=drill' 'workers=many' 'queue-capacity=5'
check 'a file with a fault can be told beforehand' not pool-server --check-config "$config"
check 'with the place of the fault' \
  contains "$(pool-server --check-config "$config" 2>&1)" "$config:2:"
check 'a reload of it fails' not systemctl reload "$service"
check 'and the journal has the place' log_has "pool-server.*$config:2:"
check 'the daemon was not told to' not event reload-failed
check 'the service counts as running all the same' wait_for 5 is SubState running
check 'with the settings it had' has_value 77 stat_value queue_capacity
signal_main HUP
check 'by a signal it is reported as refused' wait_for 5 event reload-failed
check 'the message names the place' contains "$(field reload-failed MESSAGE)" "$config:2:"
check 'the service runs on' wait_for 5 is SubState running
check 'with the settings it had' has_value 77 stat_value queue_capacity
check 'and the client' still_answers 'after the fault'

rm "$config"
check 'without the file a reload fails too' not systemctl reload "$service"
check 'and the service runs on' wait_for 5 is SubState running
check 'and again the client is there' still_answers 'without a file'

configure 'handler=digest' 'workers=3' 'queue-capacity=77' 'max-line=100'
check 'reload with what cannot change in place' systemctl reload "$service"
check 'is told' wait_for 5 event setting-not-reloadable
check 'and leaves the running handler' still_answers 'as before'
check 'it was one process all the time' equal "$pid" "$(main_pid)"
exec {to_client}>&-

many_reloads() {
  for _ in $(seq 50); do
    signal_main HUP
  done
  wait_for 5 is SubState running
}
check '50 reloads at once end in a running service' many_reloads
check 'that serves' has_value 'result: hello' ask 'echo hello'
