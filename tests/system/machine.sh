# Throw-away machines for the system test: the host's own root under an overlay, booted by
# systemd-nspawn with a real systemd as PID 1 (about half a second). Sourced by run.
#
#   machine_install_tools            installs what is needed here
#   machine_possible                 prints why not and fails where no machine can be booted
#   machine_setup DIRECTORY          once; takes DIRECTORY for all that follows
#   machine_install DEB TESTS        boots, installs DEB; the machines after this begin with it
#   machine_check NAME               boots, runs checks/NAME.sh; prints the path of its log
#
# A log has lines "PASS what" and "FAIL what", and details after those, indented.

# A check that takes longer than this hangs.
MACHINE_TIMEOUT=${MACHINE_TIMEOUT:-$((300 * ${POOL_SERVER_SLOWDOWN:-1}))}

machine_install_tools() {
  local missing=()
  [ -x /lib/systemd/systemd ] || missing+=(systemd)
  command -v systemd-nspawn > /dev/null || missing+=(systemd-container)
  command -v nc > /dev/null || missing+=(netcat-openbsd)
  [ -x /usr/bin/python3 ] || missing+=(python3-minimal)
  command -v ip > /dev/null || missing+=(iproute2)
  command -v pgrep > /dev/null || missing+=(procps)
  command -v mkpasswd > /dev/null || missing+=(whois)
  command -v pkg-config > /dev/null || missing+=(pkg-config)
  command -v c++ > /dev/null || missing+=(g++)
  [ ${#missing[@]} = 0 ] && return
  apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null 2>&1 ||
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
      > /dev/null 2>&1 ||
    { echo "these packages could not be installed: ${missing[*]}"; return 1; }
}

machine_possible() {
  unshare --mount --pid --fork --kill-child --mount-proc true 2> /dev/null ||
    { echo "mount and process namespaces are not allowed here"; return 1; }
  unshare --mount sh -c '
    mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/m &&
      mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/m
  ' 2> /dev/null || { echo "an overlay over the root cannot be mounted here"; return 1; }
}

machine_setup() {
  machine_dir=$1
  mount --make-rprivate /
  mount -t tmpfs -o mode=0755 tmpfs "$machine_dir"
  # nspawn keeps notes under /run, which are not for the host to find.
  mount -t tmpfs -o mode=0755 tmpfs /run
  machine_lower=/
}

# machine_boot NAME SCRIPT: a fresh overlay over $machine_lower, with SCRIPT of /system-test run in
# it after basic.target. Prints the path of the log.
machine_boot() {
  local name=$1 script=$2
  local dir=$machine_dir/${name//\//-} root log
  root=$dir/root log=$dir/log
  mkdir -p "$dir/upper" "$dir/work" "$root"
  : > "$log"
  mount -t overlay overlay \
    -o "lowerdir=$machine_lower,upperdir=$dir/upper,workdir=$dir/work" "$root"
  machine_prepare "$root" "$script"

  # bpf: without it IPAddressDeny= is silently not enforced. The rest of the output is the
  # console of the machine, kept for when it does not come up.
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout --kill-after=5 "$MACHINE_TIMEOUT" \
    systemd-nspawn --quiet --keep-unit --register=no --private-network --link-journal=no \
    --system-call-filter='bpf @keyring' --bind="$dir:/system-test-log" \
    --boot --directory "$root" --machine pool-server-test \
    systemd.unit=system-test.target > "$dir/console" 2>&1 < /dev/null
  if ! grep -q '^END' "$log"; then
    {
      grep -q '^FAIL the checks ran to their end' "$log" ||
        echo "FAIL the checks ran to their end (limit: $MACHINE_TIMEOUT s)"
      echo "     the console told:"
      tail -n 30 "$dir/console" | sed 's/^/     | /'
    } >> "$log"
  fi
  sed -i '/^END/d' "$log"
  umount -l "$root"
  echo "$log"
}

machine_prepare() {
  local root=$1 script=$2 units=$1/etc/systemd/system
  # Its own name among the journals, and services that start although the host forbids it.
  systemd-id128 new > "$root/etc/machine-id"
  rm -f "$root/usr/sbin/policy-rc.d" "$root/system-test-end"
  # What the host's administrator has enabled is no part of the test.
  mkdir -p "$units" "$root/system-test"
  cat > "$units/system-test.target" << UNIT
[Unit]
Requires=basic.target
After=basic.target
Wants=system-test.service dbus.socket
AllowIsolate=yes
UNIT
  cat > "$units/system-test.service" << UNIT
[Unit]
Requires=basic.target
After=basic.target
[Service]
Type=oneshot
Environment=HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
Environment=POOL_SERVER_SLOWDOWN=${POOL_SERVER_SLOWDOWN:-1}
ExecStart=/bin/bash /system-test/inside.sh $script
# Without a last word of its own the shell was ended by something: by what is told.
ExecStopPost=/bin/sh -c 'grep -q "^END" /system-test-log/log || echo "FAIL the checks ran to their end: their shell was \$\$EXIT_CODE (\$\$EXIT_STATUS)" >> /system-test-log/log'
# Checks write to servers that end: to be told by the write, not by a signal.
IgnoreSIGPIPE=yes
ExecStopPost=/bin/systemctl poweroff --force --no-block
StandardOutput=append:/system-test-log/log
StandardError=append:/system-test-log/log
TimeoutStartSec=infinity
LimitNOFILE=65536
UNIT
}

machine_install() {
  local deb=$1 tests=$2 log
  mkdir -p "$machine_dir/base/upper/system-test"
  cp -r "$tests"/. "$machine_dir/base/upper/system-test/"
  cp "$deb" "$machine_dir/base/upper/system-test/pool-server.deb"
  cp "$(dirname "$deb")"/pool-server-dev_*.deb "$machine_dir/base/upper/system-test/pool-server-dev.deb"
  cp "$(dirname "$deb")"/pool-server-views_*.deb "$machine_dir/base/upper/system-test/pool-server-views.deb"
  # The source package as autopkgtest wants it.
  mkdir "$machine_dir/base/upper/system-test/source"
  cp -r "$tests/../../packaging/debian" "$machine_dir/base/upper/system-test/source/"
  log=$(machine_boot base install.sh)
  echo "$log"
}

machine_check() {
  # The machine that has the package installed is the layer below; it is never written again.
  machine_lower=$machine_dir/base/upper:/
  machine_boot "$1" "checks/$1.sh"
}
