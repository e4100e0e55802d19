# The first client starts the service, and neither it nor the ones after it notice.

check 'the service is not running yet' is ActiveState inactive
require 'the first client, over IPv4, is answered' works 127.0.0.1 9090
check 'the service runs now' wait_for 5 is ActiveState active
check 'over IPv6 too' works ::1 9090
check 'by the name localhost too' works localhost 9090
check 'it reported itself as ready, which systemd had waited for' is Type notify
check 'and systemd knows it' \
  wait_for 5 log_has 'Started pool-server.service'
check 'a line without its end is answered' \
  equal "$(digest 'no newline')" "$(printf 'no newline' | timeout 10 nc -N localhost 9090)"
check 'replies come in the order of the requests' \
  equal "$(digest a) $(digest b) ERROR: invalid input $(digest c)" \
  "$(printf 'a\nb\nbad\nc\n' | timeout 10 nc -N localhost 9090 | paste -s -d ' ')"

check 'stop' systemctl stop "$service"
check 'and the next client starts it again' works
