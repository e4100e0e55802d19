# What the service can see and do, looked at from outside in /proc: settings that systemd accepted
# but did not enforce would not show here.

require 'the service runs' works
pid=$(main_pid)
root=/proc/$pid/root

status_field() {
  sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status"
}

# --- Files ---
files_seen() {
  find "$root/" -path "$root/proc" -prune -o -path "$root/sys" -prune -o -path "$root/dev" -prune \
    -o -type f -exec test -f {} \; -print | sed "s|^$root||" | sort
}
# The program, its libraries and the configuration: every file must be one that is in use.
files_used() {
  # As they are called inside the root: mapped files are told by the name that was opened.
  { find "$root"/etc/pool-server -type f | sed "s|^$root||"; echo /usr/sbin/pool-server; ldd_files; } |
    sort -u
}
ldd_files() {
  ldd /usr/sbin/pool-server | awk '/=> \// {print $3} /^[ \t]*\// {print $1}'
}
check 'it sees its libraries, its configuration and no other file' \
  equal "$(files_used)" "$(files_seen)"
check 'of /etc it sees its configuration only' equal pool-server "$(ls -A "$root/etc")"
no_program() {
  local found
  found=$(find "$root/" -path "$root/proc" -prune -o \( -name sh -o -name bash -o -name 'perl*' \
    -o -name 'python*' -o -name busybox -o -name systemctl \) -print)
  equal '' "$found" && equal pool-server "$(ls -A "$root/usr/sbin")" &&
    not ls -d "$root/bin" && not ls -d "$root/usr/bin" && not ls -d "$root/sbin"
}
check 'it sees no shell and no other program' no_program
check 'nor anyone'\''s home' not ls "$root/home" "$root/root"

mounts() {  # the mounts with none of these options
  local options=$1 want
  shift
  while read -r _ _ _ _ where mode _; do
    for want in ${options//,/ }; do
      [[ ,$mode, == *,$want,* ]] && continue 2
    done
    echo "$where"
  done < "/proc/$pid/mountinfo"
}
no_writable_program() {
  equal '' "$(mounts ro,noexec)"
}
check 'where it may write it may not execute' no_writable_program
only_own_executable() {
  local found
  found=$(find "$root/" -path "$root/proc" -prune -o -type f -perm /111 -exec test -f {} \; -print |
    sed "s|^$root||" | sort)
  # Most libraries are not executable, the loader and a few others are.
  equal '' "$(comm -13 <(files_used) <(echo "$found"))"
}
check 'there is nothing to execute but itself and its libraries' only_own_executable
nowhere_to_write() {
  local place
  for place in / /etc /etc/pool-server /run /run/systemd /lib /usr /usr/sbin /var /dev; do
    # As root, so that nothing but a read-only mount stands in the way.
    if touch "$root$place/system-test" 2> /dev/null; then
      echo "$place can be written"
      rm "$root$place/system-test"
      return 1
    fi
  done
}
check 'and nowhere to leave anything but /tmp' nowhere_to_write

# --- Processes, users, privileges ---
proc_options() {
  awk '$5 == "/proc" {print $6, $NF}' "/proc/$pid/mountinfo"
}
check 'it sees no process but itself' contains "$(proc_options)" hidepid=invisible
check 'and no more of /proc than processes' contains "$(proc_options)" subset=pid
dynamic_user() {
  local uid
  uid=$(stat -c %u "/proc/$pid")
  echo "it runs as user $uid"
  [ "$uid" -ge 61184 ] && [ "$uid" -le 65519 ]
}
check 'it runs as a user that exists only now' dynamic_user
own_namespace() {
  not equal "$(readlink /proc/1/ns/"$1")" "$(readlink "/proc/$pid/ns/$1")" > /dev/null
}
check 'it knows no other users' own_namespace user
no_capabilities() {
  local set
  for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    equal 0000000000000000 "$(status_field $set)" || return
  done
}
check 'it has no capability' no_capabilities
check 'and can gain none' equal 1 "$(status_field NoNewPrivs)"
check 'its system calls are filtered' equal 2 "$(status_field Seccomp)"

# --- Network ---
check 'it has a network of its own' own_namespace net
check 'in which there is nothing but a loopback' \
  equal lo "$(tail -n +3 "/proc/$pid/net/dev" | sed 's/:.*//; s/ //g' | paste -s -d ' ')"
check 'message queues, semaphores and shared memory of its own' own_namespace ipc

check 'all the while it serves' works
