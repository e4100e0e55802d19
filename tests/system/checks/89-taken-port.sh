# Somebody else listens on the port, as Prometheus and Cockpit do: apt tells who it is, and goes on.

install_says() {  # TEXT
  local said
  said=$(apt-get install -y /system-test/pool-server.deb 2>&1) || { echo "$said"; return 1; }
  contains "$said" "$1"
}
held_by() {
  contains "$(ss -Hltn 'sport = 9090')" 127.0.0.1:9090
}

require 'the package is removed' apt-get remove -y pool-server
nc -lk 127.0.0.1 9090 > /dev/null 2>&1 &
other=$!
require 'another program takes the port' wait_for 5 held_by
check 'apt installs it and says who has the port' \
  install_says "pool-server: port 9090 is taken by pid $other (nc)"
check 'the package is in order all the same' \
  equal 'install ok installed' "$(dpkg-query -W -f '${Status}' pool-server)"
check 'the journal has the address' \
  log_has 'pool-server.socket: Failed to create listening socket (127.0.0.1:9090): Address already in use'
check 'and what to do' log_has "port 9090 is taken by pid $other (nc). To listen on another one"
drop_in pool-server.socket '[Socket]' 'ListenStream=' 'ListenStream=127.0.0.1:9191'
check 'what it said to do' systemctl restart pool-server.socket
check 'gives it another port' works 127.0.0.1 9191
no_drop_in pool-server.socket
builtin kill "$other"

require 'it is removed again' apt-get remove -y pool-server
printf '%s\n' '[Socket]' 'ListenStream=9090' > /run/systemd/system/console.socket
printf '%s\n' '[Service]' 'ExecStart=/bin/sleep 60' > /run/systemd/system/console.service
systemctl daemon-reload
require 'a socket of systemd has the port' systemctl start console.socket
check 'apt says which' install_says 'pool-server: port 9090 is taken by console.socket'
systemctl stop console.socket
check 'without it both are started' systemctl start pool-server.socket
check 'and work' works
