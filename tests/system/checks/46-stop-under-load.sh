# A stop loses no reply: what is owed arrives, however slowly it is read, and then the stream ends.

settings=('workers=4' 'queue-capacity=200000' 'max-inflight-per-connection=100000' 'max-unsent=64MiB')
require 'the service runs' for_restart_clients "${settings[@]}"
measure '100,000 replies owed to clients that read 1 MB/s' clients owed 100000 systemctl stop "$service"
check 'it ended well' is Result success
check 'with status 0' is ExecMainStatus 0
check 'it kept nothing' is NFileDescriptorStore 0

# Whoever asked last decides: a restart that has begun becomes a stop.
replies_of_a_restart_that_becomes_a_stop() {
  local client reply
  systemctl start "$service"
  exec {client}<> /dev/tcp/127.0.0.1/9090 && printf 'sleep 100\necho last\n' >&"$client"
  wait_for 5 has_value 1 stat_value active_workers
  systemctl restart --no-block "$service"
  systemctl stop "$service"
  read -r -t 5 reply <&"$client" && equal 'result: slept 100 ms' "$reply" &&
    read -r -t 5 reply <&"$client" && equal 'result: last' "$reply" &&
    not read -r -t 5 reply <&"$client" && exec {client}>&-
}
check 'a restart that becomes a stop' replies_of_a_restart_that_becomes_a_stop
check 'is one' is ActiveState inactive

# A SIGTERM that is no job of systemd's is a stop, too.
systemctl start "$service"
exec {client}<> /dev/tcp/127.0.0.1/9090 && printf 'sleep 100\n' >&"$client"
wait_for 5 has_value 1 stat_value active_workers
signal_main TERM
check 'SIGTERM alone is a stop' has_value 'result: slept 100 ms' head -n 1 <&"$client"
exec {client}>&-
