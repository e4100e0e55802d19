# `systemctl status` tells what the daemon is doing.

count_up() {
  for _ in $(seq 50); do echo good; done | timeout 10 nc -N localhost 9090 > /dev/null
  for _ in $(seq 7); do echo bad; done | timeout 10 nc -N localhost 9090 > /dev/null
}

require 'the first client is answered' works
completed=$(stat_value completed) errors=$(stat_value errors)
count_up
check 'STATS counts what clients saw: 57 more' equal $((completed + 57)) "$(stat_value completed)"
check 'of them 7 errors' equal $((errors + 7)) "$(stat_value errors)"

status_tells() {
  contains "$(systemctl status --no-pager "$service")" "Status: \"$(property StatusText)\"" &&
    contains "$(property StatusText)" "$1"
}
check 'systemctl status tells the workers' wait_for 5 status_tells worker
check 'and the queue' wait_for 5 status_tells 'queue 0/1024'
check 'and follows what is done' wait_for 5 status_tells "$((completed + 57)) done"
before=$(property StatusText)
count_up
status_changed() {
  [ "$before" != "$(property StatusText)" ]
}
check 'and changes with it' wait_for 5 status_changed
check 'and names the manual page' \
  contains "$(systemctl status --no-pager "$service")" 'man:pool-server(8)'
check 'which exists' man --where pool-server
