# The package is installed as a user would; every other machine begins where this one ends.

if dpkg -s pool-server > /dev/null 2>&1; then
  dpkg --purge pool-server > /dev/null  # the host's own
fi

# What carries the name already: the host's copy of the source, wherever it is.
named_after_us > /system-test/names-before

install_it() {
  apt-get install -y /system-test/pool-server.deb &&
    equal 'install ok installed' "$(dpkg-query -W -f '${Status}' pool-server)"
}
require 'apt installs the package' install_it
check 'the socket is enabled' systemctl is-enabled pool-server.socket
check 'the socket listens' is SubState listening pool-server.socket
check 'the service waits for its first client' is ActiveState inactive
check 'nothing runs' not pgrep -x pool-server
check 'the units have no faults' \
  systemd-analyze verify /lib/systemd/system/pool-server.socket \
  /lib/systemd/system/pool-server.service /lib/systemd/system/pool-server@test.service \
  /lib/systemd/system/pool-server-agent.socket /lib/systemd/system/pool-server-agent@test.socket \
  /lib/systemd/system/pool-server-program-agent@test.socket
check 'every file of the package is as it was built' \
  has_value '' dpkg --verify pool-server
listed_in_package() {
  contains "$(dpkg-deb -c /system-test/pool-server.deb)" "/usr/share/doc/pool-server/$1"
}
check 'README comes with it' listed_in_package README.md
check 'and the map of the source' listed_in_package HACKING.md
check 'the configuration is a conffile' \
  contains "$(dpkg-query -W -f '${Conffiles}' pool-server)" "$config"
check 'the installed configuration is accepted' pool-server --check-config "$config"
