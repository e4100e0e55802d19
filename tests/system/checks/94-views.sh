# top and check, a package of their own, find the monitor where the package has it.

require 'apt installs pool-server-views' apt-get install -y /system-test/pool-server-views.deb
check 'every file of it is as it was built' has_value '' dpkg --verify pool-server-views
status_of_check() {
  local status=0
  pool-server check > /dev/null || status=$?
  echo "$status"
}
check 'without a monitor, check has no answer' has_value 2 status_of_check

require 'the monitor is enabled' systemctl enable pool-server-monitor.socket
require 'the service runs with it' systemctl restart "$service"
as_nobody() {
  setpriv --reuid nobody --regid nogroup --clear-groups pool-server "$@"
}
check 'the server is ready' \
  has_value 'pool-server ready: /run/pool-server/monitor.sock' as_nobody check
check 'at its port, too' has_value 'pool-server ready: localhost:9089' as_nobody check localhost:9089
check 'the service works' works
shows_a_request() {
  [[ $(as_nobody top) =~ 'at most '[0-9.,]*[1-9] ]]
}
shows_the_process() {
  contains "$(as_nobody top)" "process $(main_pid)"
}
check 'top shows the process' shows_the_process
check 'and what was asked for' wait_for 10 shows_a_request
check 'a stop is no answer' systemctl stop "$service"
check 'to check' has_value 2 status_of_check
