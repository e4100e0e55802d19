# systemd's own opinion of the sandbox; of the services in Debian the best has 1.1.

score() {
  systemd-analyze security --no-pager "$@" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p'
}
require 'the service is running' works
check 'its score is 0.1, booted' has_value 0.1 score "$service"
check 'its score is 0.1, offline' \
  has_value 0.1 score --offline=true "/lib/systemd/system/$service"
check 'so is that of an instance' \
  has_value 0.1 score --offline=true /lib/systemd/system/pool-server@.service
