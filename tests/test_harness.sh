#!/bin/bash
# Row R6: 30 concurrent clients, 20 with good data and 10 with bad, each answered right.
#
#   tests/test_harness.sh BINARY
#
# Prints `PASS (30/30 clients — 20 success, 10 error)` and exits 0, or tells what failed and exits 1.
# The server and the clients are gone and the files removed afterwards, whatever happens.
set -u

readonly good=20 bad=10 patience=20

fail() {
    echo "FAIL: $*"
    [[ -s $work/log ]] && sed 's/^/  log: /' "$work/log"
    exit 1
}

clean_up() {
    trap '' EXIT INT TERM HUP
    [[ -n ${server:-} ]] && kill -KILL "$server" 2>/dev/null
    [[ ${#clients[@]} -gt 0 ]] && kill -KILL "${clients[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}

# Sends one line, as `nc` does when it is used by hand, and keeps the whole answer.
client() {
    printf '%s' "$2" | timeout "$patience" nc -N 127.0.0.1 "$port" >"$work/reply-$1" 2>"$work/errors-$1"
}

work=$(mktemp -d) || exit 1
clients=()
trap clean_up EXIT
trap 'exit 1' INT TERM HUP
[[ $# -eq 1 && -x $1 ]] || fail "usage: $0 BINARY"
command -v nc >/dev/null || fail "nc is missing (package netcat-openbsd)"

# The log is a FIFO first, so that the line with the chosen port can be waited for without polling.
mkfifo "$work/stderr"
"$1" --listen 127.0.0.1:0 2>"$work/stderr" &
server=$!
exec {log}<"$work/stderr"
port=
while [[ -z $port ]] && IFS= read -r -t "$patience" -u "$log" line; do
    echo "$line" >>"$work/log"
    [[ $line =~ listening\ on\ 127\.0\.0\.1:([0-9]+) ]] && port=${BASH_REMATCH[1]}
done
[[ -n $port ]] || fail "the server did not start"
cat <&"$log" >>"$work/log" &
clients+=($!)

for ((i = 0; i < good + bad; i++)); do
    if ((i % 3 == 2)); then text=bad; else text="good data $i"; fi
    client "$i" "$text" &
    waiting[i]=$!
    clients+=($!)
done

successes=0 errors=0
for ((i = 0; i < good + bad; i++)); do
    wait "${waiting[i]}" || fail "client $i ended with status $?: $(cat "$work/errors-$i")"
    if ((i % 3 == 2)); then
        expected='ERROR: invalid input'
    else
        expected="result: $(printf 'good data %d' "$i" | sha256sum | cut -d ' ' -f 1)"
    fi
    printf '%s\n' "$expected" | cmp -s - "$work/reply-$i" ||
        fail "client $i got '$(head -c 200 "$work/reply-$i")' instead of '$expected'"
    if ((i % 3 == 2)); then ((errors += 1)); else ((successes += 1)); fi
done

kill -TERM "$server"
wait "$server"
status=$?
server=
((status == 0)) || fail "the server ended with status $status"
((successes == good && errors == bad)) || fail "$successes success, $errors error"
echo "PASS ($((successes + errors))/$((good + bad)) clients — $successes success, $errors error)"
