# What the package brought goes with it, and the package alone leaves the configuration.

printf 'workers=1\n' > /etc/pool-server/one.conf
systemctl enable --quiet --now pool-server@one.socket
require 'the service runs' works
check 'an instance too' works -U /run/pool-server/one.sock

check 'apt removes the package' apt-get remove -y pool-server
check 'nothing runs any more' not pgrep -x pool-server
check 'nothing listens' has_value '' ss -Hltn 'sport = 9090'
check 'no unit is active or has failed' has_value '' systemctl list-units --plain --no-legend 'pool-server*'
check 'no socket or directory is left in /run' not ls /run/pool-server
check 'the configuration stays' ls "$config" /etc/pool-server/one.conf

check 'apt installs it again' apt-get install -y /system-test/pool-server.deb
check 'and it works' works
check 'so does the instance, which is still enabled' works -U /run/pool-server/one.sock
left() { named_after_us | comm -13 /system-test/names-before -; }
check 'its files can be told from all others' contains "$(left)" /usr/sbin/pool-server
check 'apt purges it' apt-get purge -y pool-server
check 'and nothing of it is left' has_value '' left
check 'nor a user' not getent passwd pool-server
check 'nor a group' not getent group pool-server-password
check 'nor an explanation' not journalctl --list-catalog e2e80f523afd49d995d95e7572010e56
