# A stop answers what was accepted, and ends with status 0.

configure 'handler=drill' 'workers=2'
require 'the service runs' has_value 'result: hello' ask 'echo hello'

# Six tasks on two workers: two run, four wait, when the stop comes.
for _ in 1 2 3 4 5 6; do echo 'sleep 300'; done |
  timeout 10 nc -N localhost 9090 > /tmp/replies &
client=$!
require 'its workers are busy' wait_for 5 has_value 2 stat_value active_workers
begin=$(date +%s%N)
check 'stop' systemctl stop "$service"
took=$(( ($(date +%s%N) - begin) / 1000000 ))
wait "$client"
check 'every request accepted before was answered' equal 6 "$(grep -c '^result: ' /tmp/replies)"
check "it took as long as the work, 900 ms, and not much more ($took ms)" [ "$took" -lt 2500 ]
check 'the service ended well' is Result success
check 'with status 0' is ExecMainStatus 0
check 'and said what it did' event stopping
check 'to the end' event stopped
check 'the socket still listens' is ActiveState active pool-server.socket
check 'so the next client is answered' has_value 'result: again' ask 'echo again'

begin=$(date +%s%N)
systemctl stop "$service"
took=$(( ($(date +%s%N) - begin) / 1000000 ))
check "an idle service stops at once ($took ms)" [ "$took" -lt 500 ]

ask 'echo again' > /dev/null
check 'stopping the socket' systemctl stop pool-server.socket
check 'stops the service' is ActiveState inactive
check 'with status 0 as well' is ExecMainStatus 0
check 'and no one is served' not ask 'echo no one'
