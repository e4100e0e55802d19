# What the checks are written with. Everything here runs inside the machine, as root.

service=pool-server.service
config=/etc/pool-server/pool-server.conf
failures=0

# judge WHAT COMMAND...: the verdict alone; what the command told is left in $output.
judge() {
  local what=$1
  shift
  if output=$("$@" 2>&1); then
    echo "PASS $what"
  else
    failures=$((failures + 1))
    echo "FAIL $what"
    output="$output
(failed: $*)"
    return 1
  fi
}

show_output() {
  printf '%s\n' "$output" | tail -n 40 | sed 's/^/     | /'
}

# check WHAT COMMAND...: the command succeeds. Its output is shown only where it does not.
check() {
  judge "$@" || show_output
}

# measure WHAT COMMAND...: as check, but what it tells is shown in any case.
measure() {
  judge "$@" || true
  show_output
}

# require WHAT COMMAND...: as check, but without it the rest of the file would tell nothing.
require() {
  check "$@"
  [ "$failures" = 0 ] || finish
}

# equal WANT GOT
equal() {
  [ "$1" = "$2" ] || { printf 'wanted: %s\ngot:    %s\n' "$1" "$2"; return 1; }
}

# contains TEXT PART
contains() {
  [[ $1 == *"$2"* ]] || { printf 'wanted: ... %s ...\ngot:    %s\n' "$2" "$1"; return 1; }
}

not() {
  ! "$@"
}

# In microseconds.
now() {
  echo "${EPOCHREALTIME/[.,]/}"
}

# wait_for SECONDS COMMAND...: polls until the command succeeds.
wait_for() {
  local end=$(($(now) + $1 * 1000000 * POOL_SERVER_SLOWDOWN))
  shift
  until "$@" > /dev/null 2>&1; do
    if [ "$(now)" -ge "$end" ]; then
      echo "waited in vain; at last:"
      "$@"
      return
    fi
    sleep 0.05
  done
}

# signal_main SIGNAL [UNIT]: to the main process, which there must be.
signal_main() {
  systemctl kill --signal="$1" --kill-who=main "${2:-$service}"
}

# kill is kept from all checks: the MainPID of a service that has just ended is 0, and `kill 0` is
# the shell of the checks itself.
kill() {
  echo "no check sends signals by a number it read: signal_main does (kill $*)"
  return 1
}

# named_after_us: every file with our name where packages put theirs, sorted; logs and apt's cache
# may keep it. (Elsewhere others are at work: the host's files are seen through the machine's.)
named_after_us() {
  { find /bin/ /boot /etc /lib/ /lib64/ /opt /sbin/ /srv /usr /var -xdev \
      \( -path /var/log -o -path /var/cache \) -prune -o \
      \( -name '*pool-server*' -o -name '*pool_server*' \) -print
    find /run -name '*pool-server*'
  } | sort
}

# ask REQUEST [NC-ARGUMENTS]: one client, one connection, what it was answered.
ask() {
  local request=$1
  shift
  [ $# -gt 0 ] || set -- 127.0.0.1 9090
  printf '%s\n' "$request" | timeout 10 nc -N "$@"
}

digest() {
  echo "result: $(printf %s "$1" | sha256sum | cut -d ' ' -f 1)"
}

# works [NC-ARGUMENTS]: a client gets the right answers.
works() {
  equal "$(digest 'good data')" "$(ask 'good data' "$@")" &&
    equal 'ERROR: invalid input' "$(ask bad "$@")"
}

property() {
  systemctl show --property "$1" --value "${2:-$service}"
}

main_pid() {
  property MainPID "${1:-$service}"
}

# is PROPERTY VALUE [UNIT]
is() {
  equal "$2" "$(property "$1" "${3:-$service}")"
}

# has_value VALUE COMMAND...: for what changes by itself, with wait_for.
has_value() {
  local want=$1
  shift
  equal "$want" "$("$@")"
}

# drop_in UNIT LINE...: settings for this machine only.
drop_in() {
  local directory=/run/systemd/system/$1.d
  mkdir -p "$directory"
  shift
  printf '%s\n' "$@" > "$directory/system-test.conf"
  systemctl daemon-reload
}

no_drop_in() {
  rm -rf "/run/systemd/system/$1.d"
  systemctl daemon-reload
}

# configure LINE...: replaces the configuration, by another file, as editors do.
configure() {
  printf '%s\n' "$@" > "$config.new"
  mv "$config.new" "$config"
}

# for_restart_clients LINE...: the service as restart_clients.py needs it, with these settings too.
# What stands in $handler takes the place of drill.
for_restart_clients() {
  configure "handler=${handler:-drill}" "$@"
  drop_in pool-server.socket '[Socket]' 'ListenStream=/run/pool-server-test.sock'
  systemctl stop pool-server.socket "$service"
  systemctl start "$service" && ask 'echo hello' -U /run/pool-server-test.sock
}

# clients MODE ...: see there.
clients() {
  /usr/bin/python3 restart_clients.py "$@"
}

# newer_package NAME VERSION-SUFFIX [COMMAND...]: NAME.deb is the package with a higher version; the
# COMMAND may change the files that it installs, in ./NAME.
newer_package() {
  local name=$1 suffix=$2
  shift 2
  dpkg-deb -R pool-server.deb "$name" &&
    sed -i "s/^Version: .*/&+$suffix/" "$name/DEBIAN/control" &&
    { [ $# = 0 ] || "$@"; } &&
    dpkg-deb --root-owner-group -b "$name" "$name.deb"
}

# installs DEB, as an administrator would who has changed the configuration.
installs() {
  apt-get install -y --allow-downgrades -o Dpkg::Options::=--force-confold "$1"
}

# journal ARGUMENT...: of this boot, which is this file of checks.
journal() {
  journalctl --sync
  journalctl --boot --quiet --no-pager "$@"
}

# event NAME [MATCH...]: such an event was logged by the service.
event() {
  local name=$1
  shift
  [ -n "$(journal --unit "$service" POOL_SERVER_EVENT="$name" "$@")" ]
}

# field EVENT FIELD: the last value of that field in such events.
field() {
  journal --unit "$service" --output=cat --output-fields="$2" -n 1 POOL_SERVER_EVENT="$1"
}

# stat KEY [NC-ARGUMENTS]: one number of STATS.
stat_value() {
  local key=$1
  shift
  ask STATS "$@" | tr ' ' '\n' | sed -n "s/^$key=//p"
}

# A client that has sent half a line does not notice.
half_a_line_survives_a_restart() {
  local reply client
  exec {client}<> /dev/tcp/127.0.0.1/9090 && printf 'half ' >&"$client" &&
    wait_for 5 not has_value 0 stat_value connections &&
    systemctl restart "$service" &&
    echo line >&"$client" && read -r -t $((5 * POOL_SERVER_SLOWDOWN)) reply <&"$client" &&
    equal "$(digest 'half line')" "$reply" && exec {client}>&-
}

log_has() {
  journal | grep -q -- "$1" || { echo "the journal has no: $1"; return 1; }
}

log_has_not() {
  ! journal | grep -m 5 -- "$1"
}

# What systemd says of units it does not understand. (Not that it met a process just being reaped.)
complaints() {
  journal | grep 'pool-server.*\(Unknown key\|Failed to parse\|ignoring\|not supported\)' |
    grep -v 'Failed to kill control group'
}

# Holds at the end of every check, whatever it did.
still_clean() {
  [ -n "${filter_is_tested:-}" ] ||
    check 'no system call was made that the filter does not list' log_has_not 'status=31/SYS'
  check 'systemd had nothing to complain of in the units' has_value '' complaints
}

# Ends the log, of every file.
finish() {
  still_clean
  if [ "$failures" != 0 ]; then
    echo "     the last of the journal:"
    journal --output=short-precise -n 60 --unit='pool-server*' | sed 's/^/     | /'
  fi
  echo END
  exit 0
}
