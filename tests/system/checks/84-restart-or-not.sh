# What is not a restart: a stop, a crash, and a service that is told to preserve nothing.

require 'the service runs' for_restart_clients 'workers=32'
measure 'a stop gives clients what they are owed, and an end of stream' \
  clients ended systemctl stop "$service"
check 'it kept nothing' is NFileDescriptorStore 0
check 'the next client starts it again' has_value 'result: again' ask 'echo again'
check 'with nothing restored' not event restored

# A client with half a request, over more restarts than a start limit would allow.
ten_restarts() {
  local reply begin=${EPOCHREALTIME/[.,]/}
  exec {client}<> /dev/tcp/127.0.0.1/9090 && printf 'echo half ' >&"$client"
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    systemctl restart "$service" || return
  done
  echo "ten restarts took $(((${EPOCHREALTIME/[.,]/} - begin) / 1000)) ms"
  echo line >&"$client" && read -r -t 5 reply <&"$client" && equal 'result: half line' "$reply" &&
    exec {client}>&-
}
measure 'ten restarts in a row lose no client' ten_restarts
asked_at_once() {  # restarts that do not wait for one another
  local reply
  exec {client}<> /dev/tcp/127.0.0.1/9090 && printf 'echo half ' >&"$client"
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    systemctl restart --no-block "$service" && sleep 0.1
  done
  wait_for 5 is SubState running && echo line >&"$client" &&
    read -r -t 5 reply <&"$client" && equal 'result: half line' "$reply" && exec {client}>&-
}
check 'nor do ten that are asked for within a second' asked_at_once

# systemd leaves ExecStop= out while a service reloads or starts: nobody can say then what it is.
half_line_over() {  # COMMAND...
  local reply
  exec {client}<> /dev/tcp/127.0.0.1/9090 && printf 'echo half ' >&"$client" || return
  has_value 'result: hello' ask 'echo hello' || return
  "$@" || return
  wait_for 5 is SubState running && echo line >&"$client" &&
    read -r -t 5 reply <&"$client" && equal 'result: half line' "$reply" && exec {client}>&-
}
during_a_reload() {
  systemctl reload --no-block "$service" && sleep 0.02 && systemctl restart "$service"
}
during_a_start() {  # DELAY
  systemctl restart --no-block "$service" && sleep "$1" && systemctl restart "$service"
}
for number in 1 2 3; do
  check "a restart while it reloads loses no client ($number)" half_line_over during_a_reload
done
for delay in 0.02 0.03 0.04 0.05 0.06 0.07 0.08 0.09 0.10 0.12; do
  check "nor does one $delay s after another" half_line_over during_a_start "$delay"
done

listening_since=$(property ActiveEnterTimestampMonotonic pool-server.socket)
check 'a crash closes the connections' clients closed \
  systemctl kill --signal=KILL --kill-who=main "$service"
check 'but the next client is served' has_value 'result: next' ask 'echo next'
check 'by the socket that listened all the while' \
  equal "$listening_since" "$(property ActiveEnterTimestampMonotonic pool-server.socket)"

waiting_clients() {  # those who came while there was no process
  local clients=() replies
  drop_in "$service" '[Service]' 'RestartSec=1s'
  signal_main KILL
  wait_for 2 has_value auto-restart property SubState
  for number in 1 2 3 4 5; do
    ask "echo $number" > "waiting$number" &
    clients+=($!)
  done
  wait "${clients[@]}"
  equal "$(printf 'result: %s\n' 1 2 3 4 5)" "$(cat waiting?)"
}
check 'and those who waited in the meantime' waiting_clients
no_drop_in "$service"

require 'without preserving' for_restart_clients 'workers=32' 'preserve-connections=no'
handed_over=$(journal --unit "$service" POOL_SERVER_EVENT=handed-over | wc -l)
measure 'a restart is a stop to its clients' clients ended systemctl restart "$service"
check 'nothing is handed over' \
  equal "$handed_over" "$(journal --unit "$service" POOL_SERVER_EVENT=handed-over | wc -l)"
