# A newer package takes the place of the older: the service is restarted, never stopped, and the
# sockets listen all the while.

# The same package with a higher version.
make_newer() {
  dpkg-deb -R pool-server.deb newer && sed -i 's/^Version: .*/&+newer1/' newer/DEBIAN/control &&
    dpkg-deb --root-owner-group -b newer newer.deb
}
require 'there is a newer package' make_newer

cp "$config" /etc/pool-server/one.conf
systemctl start pool-server@one.socket
require 'the service runs' works
check 'an instance too' works -U /run/pool-server/one.sock
echo 'workers=3' >> "$config"
pid=$(main_pid) instance_pid=$(main_pid pool-server@one.service)
listening_since=$(property ActiveEnterTimestampMonotonic pool-server.socket)

# A client that comes again and again, and tells of each time that it was not served.
visitor() {
  while [ -e visiting ]; do
    works > visit 2>&1 || cat visit
  done
}
touch visiting
visitor > refused &
check 'apt upgrades the package' apt-get install -y \
  -o Dpkg::Options::=--force-confold ./newer.deb
rm visiting
wait

check 'to the newer version' \
  contains "$(dpkg-query -W -f '${Version} ${Status}' pool-server)" '+newer1 install ok installed'
check 'the service is another process now' not equal "$pid" "$(main_pid)"
check 'and runs' is SubState running
check 'so does the instance' not equal "$instance_pid" "$(main_pid pool-server@one.service)"
check 'it was a restart, not a stop' log_has_not 'Closed pool-server.socket'
check 'the socket listened all the while' \
  equal "$listening_since" "$(property ActiveEnterTimestampMonotonic pool-server.socket)"
check 'no client was refused' equal '' "$(cat refused)"
check 'the configuration is as it was changed' has_value 3 stat_value workers

check 'a service that does not run' systemctl stop "$service"
check 'is not started by an upgrade' apt-get install -y --allow-downgrades \
  -o Dpkg::Options::=--force-confold ./pool-server.deb
check 'but by its next client' is ActiveState inactive
check 'as ever' works
