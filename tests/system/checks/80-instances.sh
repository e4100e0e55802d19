# Further instances: pool-server@NAME, each with its own configuration and socket.

printf '%s\n' 'handler=drill' 'workers=1' > /etc/pool-server/one.conf
cp "$config" /etc/pool-server/two.conf
check 'enable an instance' systemctl enable --now pool-server@one.socket
check 'and another' systemctl enable --now pool-server@two.socket
check 'the first has its own handler' \
  has_value 'result: hello' ask 'echo hello' -U /run/pool-server/one.sock
check 'the second has its own' works -U /run/pool-server/two.sock
check 'the plain service is a third' works
check 'three processes' has_value 3 pgrep -c -x pool-server
# Restarted at once, each finds its own job among all.
half_lines_over_a_restart_of_all() {
  local plain reply
  coproc nc -U /run/pool-server/one.sock
  printf 'echo ha' >&"${COPROC[1]}"
  exec {plain}<> /dev/tcp/127.0.0.1/9090 && printf 'ha' >&"$plain"
  wait_for 5 has_value 2 stat_value connections
  systemctl restart pool-server@one.service pool-server@two.service "$service" || return
  echo lf >&"${COPROC[1]}" && read -r -t 5 reply <&"${COPROC[0]}" && equal 'result: half' "$reply" &&
    echo lf >&"$plain" && read -r -t 5 reply <&"$plain" && equal "$(digest half)" "$reply"
}
check 'all restarted at once keep their clients' half_lines_over_a_restart_of_all
check 'one stops alone' systemctl stop pool-server@one.service
check 'the others serve' works -U /run/pool-server/two.sock
check 'its socket starts it again' \
  has_value 'result: again' ask 'echo again' -U /run/pool-server/one.sock

check 'only root may connect' equal '660 root root' "$(stat -c '%a %U %G' /run/pool-server/one.sock)"
stranger() {
  echo 'echo hello' | setpriv --reuid 65534 --regid 65534 --clear-groups "$@" \
    nc -N -U /run/pool-server/one.sock
}
check 'a stranger may not' not stranger
groupadd --system pool-clients
drop_in pool-server@one.socket '[Socket]' 'SocketGroup=pool-clients'
check 'a drop-in names a group' systemctl restart pool-server@one.socket
member() {
  echo 'echo hello' | setpriv --reuid 65534 --regid pool-clients --clear-groups \
    nc -N -U /run/pool-server/one.sock
}
check 'whose members may' has_value 'result: hello' member

check 'an instance without a configuration does not start' \
  systemctl start pool-server@none.socket
check 'and says so' not ask 'echo hello' -U /run/pool-server/none.sock
check 'by name' wait_for 5 log_has '/etc/pool-server/none.conf'
systemctl stop pool-server@none.socket pool-server@none.service

check 'a stopped socket leaves no file' systemctl stop pool-server@one.socket
check 'behind' not ls /run/pool-server/one.sock
