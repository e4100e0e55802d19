# The journal answers questions: fields to ask by, ids to alert on, explanations to read.

configure 'handler=drill' 'task-timeout=100ms' 'workers=1'
require 'the service runs' has_value 'result: hello' ask 'echo hello'
check 'its start is an event' wait_for 5 event started
check 'at the level of information' event started PRIORITY=6
check 'that names the program' event started SYSLOG_IDENTIFIER=pool-server
check 'with an id to alert on' event started MESSAGE_ID=e2e80f523afd49d995d95e7572010e56

check 'a task runs out of time' \
  has_value 'ERROR: timed out after 100 ms' ask 'sleep 400'
check 'that is an event' wait_for 5 event task-timeout
check 'with its id' event task-timeout MESSAGE_ID=7435456a707c4605b8381466377c2c5d
check 'a warning' event task-timeout PRIORITY=4
for name in CONNECTION PEER TASK WORKER WAIT_USEC RUN_USEC; do
  check "that has POOL_SERVER_$name" [ -n "$(field task-timeout POOL_SERVER_$name)" ]
done
check 'the peer is an address' contains "$(field task-timeout POOL_SERVER_PEER)" 127.0.0.1
check 'the time it ran is the limit or more' \
  [ "$(field task-timeout POOL_SERVER_RUN_USEC)" -ge 100000 ]

explained() {
  contains "$(journal -x --unit "$service" POOL_SERVER_EVENT="$1")" "$2"
}
check 'journalctl -x explains it' explained task-timeout 'ran longer than --task-timeout'
check 'and the start' explained started 'pool-server has started'
listed() {
  local id missing=0
  for id in $(grep -o "^-- .*" /usr/lib/systemd/catalog/pool-server.catalog | cut -c 4-); do
    journalctl --list-catalog "$id" > /dev/null || missing=1
  done
  return $missing
}
check 'every text of the catalog is installed' listed

nothing_per_request() {
  local before after
  before=$(journal --unit "$service" | wc -l)
  for _ in 1 2 3 4 5; do ask 'echo quiet' > /dev/null; ask fail > /dev/null; done
  after=$(journal --unit "$service" | wc -l)
  equal "$before" "$after"
}
check 'requests, good and bad, leave nothing in it' nothing_per_request

systemctl stop "$service"
check 'the stop is an event' event stopped MESSAGE_ID=60f73d493bc54e53b18a18eb12545bec

no_journal() {
  systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service
  ask 'echo hello'
  local reply
  reply=$(ask 'sleep 400')
  systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service
  equal 'ERROR: timed out after 100 ms' "$reply"
}
check 'a journal that is down stops nothing' no_journal
