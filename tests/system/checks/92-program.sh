# A program in any language as an instance of pool-server-program@.service, from the manual page.

unit=pool-server-program@words.service
socket=/run/pool-server/program/words.sock
program_config=/etc/pool-server/program/words.conf
examples=/usr/share/doc/pool-server/examples/program

ask_program() {
  printf '%s\n' "$1" | timeout 20 nc -N -U "$socket"
}
configure_program() {
  printf '%s\n' "$@" > "$program_config"
}
of_unit() {
  [ "$(systemctl show -P "$1" "$unit")" = "$2" ]
}
journal_of_unit() {
  journalctl --unit "$unit" --no-pager | grep -q "$1"
}
score() {
  systemd-analyze security --no-pager "$unit" | sed -n 's/.*Overall exposure level for .*: \([0-9.]*\) .*/\1/p'
}

mkdir -p /opt/words
cat > /opt/words/worker.py <<'P'
import os, socket
from pool_server_worker import RequestError, serve

def work(text):
    verb, _, rest = text.partition(" ")
    if verb == "crash":
        os.kill(os.getpid(), 11)
    if verb == "write":
        open(rest, "w").close()
    if verb == "user":
        return os.getuid() > 0
    if verb == "net":
        try:
            socket.socket(socket.AF_INET)
        except OSError:
            return "none"
    if verb == "see":
        return os.path.exists(rest)
    if verb == "say":
        print(rest)
    if verb == "bad":
        raise RequestError("that is bad")
    return text.upper()

serve(work)
P
configure_program 'program=python3 -u /opt/words/worker.py' 'workers=2'

check 'the socket of a program is started' systemctl start pool-server-program@words.socket
check 'its first client starts the service' has_value 'result: HELLO' ask_program hello
check 'which is ready' of_unit ActiveState active
check 'what the program finds wrong is an error' has_value 'ERROR: that is bad' ask_program bad
check 'what it throws is none of the client'\''s business' has_value 'ERROR: internal error' ask_program 'write /etc/x'
check 'but the journal has what it writes of it to standard error' wait_for 5 journal_of_unit 'Read-only file system'
check 'it is nobody' has_value 'result: True' ask_program 'user'
check 'has no network' has_value 'result: none' ask_program 'net'
check 'no other service'\''s sockets' has_value 'result: False' ask_program 'see /run/systemd/private'
touch /dev/shm/of-the-machine
check 'a /dev/shm of its own' has_value 'result: False' ask_program 'see /dev/shm/of-the-machine'
check 'that it can write to' has_value 'result: WRITE /DEV/SHM/X' ask_program 'write /dev/shm/x'
check 'and no home' has_value 'result: False' ask_program 'see /root/.bashrc'
check "its sandbox scores $(score)" [ "$(score)" = 0.2 ]
check 'a crash costs one request' has_value 'ERROR: worker crashed (SIGSEGV)' ask_program crash
check 'and no more' has_value 'result: HELLO' ask_program hello
check 'the journal tells of it' wait_for 5 journal_of_unit 'SIGSEGV'

check 'a limit of address space is set' configure_program 'program=python3 -u /opt/words/worker.py' 'workers=1' \
  'worker-memory-limit=200MiB' 'log-level=info'
check 'by a restart' systemctl restart "$unit"
check 'and the program lives with it' has_value 'result: HELLO' ask_program hello

configure_program 'program=sed -u s/a/b/' 'workers=2'
check 'a reload replaces the program' systemctl reload "$unit"
replaced() {
  [ "$(ask_program banana)" = 'result: bbnana' ]
}
check 'without a restart' wait_for 10 replaced
configure_program "program=$examples/none"
check 'a program that is not there' not systemctl reload-or-restart "$unit"

configure_program "program=python3 -u $examples/primes.py"
check 'an example works as it is' systemctl restart "$unit"
check 'and computes' has_value 'result: 3 5 17 257' ask_program 65535

check 'a stop ends all of it' systemctl stop pool-server-program@words.socket "$unit"
check 'in good order' of_unit Result success
check 'with no process left' not pgrep -f /opt/words/worker.py
