# An upgrade under the load of 82-restart-under-load.sh, and one to a version that does not start.

# In the place of the daemon a program that ends at once. Its libraries are there: it does start.
broken() {
  install -m 755 /bin/false "broken/usr/sbin/pool-server"
}
require 'there is a newer package' newer_package newer newer1
require 'a still newer one that is broken' newer_package broken newer2 broken
require 'and one that mends it' newer_package mended newer3
require 'the service runs' for_restart_clients 'workers=32'

pid=$(main_pid)
export -f installs
measure 'an upgrade loses nothing' clients mixed 200 1 bash -c 'installs ./newer.deb'
check 'it was one' contains "$(dpkg-query -W -f '${Version}' pool-server)" +newer1
check 'to another process' not equal "$pid" "$(main_pid)"

# The one that fails is tried again and again, more often than the socket may be triggered by a service
# that has failed for good; the other takes its place.
failed_often() {
  [ "$(property NRestarts)" -ge 8 ]
}
broken_then_mended() {
  installs ./broken.deb
  wait_for 10 failed_often || return
  installs ./mended.deb
  [ "$(property SubState)" = running ]
}
export service
export -f broken_then_mended failed_often wait_for now property
measure 'a broken version, and one that mends it, lose nothing' \
  clients mixed 200 1 bash -c broken_then_mended
check 'it was mended' contains "$(dpkg-query -W -f '${Version}' pool-server)" +newer3
check 'the store is empty again' is NFileDescriptorStore 0
