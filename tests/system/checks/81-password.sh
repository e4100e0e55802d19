# The instance that comes with the package: password hashes, for a group of its own.

socket=/run/pool-server/password.sock
instance=pool-server@password
check 'it does not listen until it is wanted' not systemctl is-active $instance.socket
require 'enable it' systemctl enable --now $instance.socket
check 'it has a group of its own' equal '660 root pool-server-password' "$(stat -c '%a %U %G' $socket)"

hash=$(ask 'hash correct horse' -U $socket | sed -n 's/^result: //p')
require 'it hashes' contains "$hash" '$argon2id$v=19$m=65536,t=3,p=4$'
check 'it verifies' has_value 'result: match' ask "verify $hash correct horse" -U $socket
check 'and tells another password' has_value 'result: no-match' ask "verify $hash correct hors" -U $socket
check 'it verifies what mkpasswd makes' \
  has_value 'result: match' ask "verify $(mkpasswd -m yescrypt 'a b c') a b c" -U $socket
useradd someone
echo 'someone:the secret' | chpasswd
check 'it verifies what login will' \
  has_value 'result: match' ask "verify $(getent shadow someone | cut -d : -f 2) the secret" -U $socket

as_someone() {  # GROUP COMMAND...
  local group=$1
  shift
  setpriv --reuid someone --regid "$group" --clear-groups "$@"
}
check 'a stranger may not ask' not as_someone someone nc -N -U $socket < /dev/null
member_asks() {
  equal 'result: match' "$(as_someone pool-server-password sh -c "
    echo \$\$ > /tmp/member; echo 'verify $hash correct horse' | exec nc -N -U $socket")"
}
chmod 1777 /tmp
check 'a member of the group may' member_asks
told() {
  journal --unit $instance --output=verbose POOL_SERVER_EVENT=connected |
    grep "POOL_SERVER_PEER=unix uid=$(id -u someone) gid=$(getent group pool-server-password | cut -d : -f 3) pid=[0-9]*$"
}
check 'and the journal tells who it was' wait_for 5 told
check 'but no secret, and no hash' log_has_not 'horse\|\$y\$\|\$argon2\|the secret'

# The sandbox is that of the other services, but for the one setting that would hide who asks.
sandbox_of() {
  systemctl show "$1" | grep -E '^(Private|Protect|Restrict|System|Capability|NoNew|Memory|Lock|Keyring|RemoveIPC|UMask|DynamicUser|Root|Bind|ReadOnly|Inaccessible|NoExec|Device|IPAddress)' |
    grep -vE '^(MemoryCurrent|MemoryAvailable|RootHash)' | sort
}
only_difference() {
  equal $'< PrivateUsers=no\n> PrivateUsers=yes' \
    "$(diff <(sandbox_of $instance.service) <(sandbox_of pool-server@other.service) | grep '^[<>]')"
}
check 'it runs in the sandbox of the others' only_difference
check 'which is in force' equal 2 "$(sed -n 's/^Seccomp:[[:space:]]*//p' "/proc/$(main_pid $instance)/status")"

systemctl restart $instance
check 'it works after a restart' has_value 'result: match' ask "verify $hash correct horse" -U $socket
systemctl disable --quiet --now $instance.socket $instance.service
