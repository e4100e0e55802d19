# A handler written by the manual page alone: built against the installed pool-server-dev, somewhere
# else, served by systemd, restarted under load, and crashed.

require 'apt installs pool-server-dev' apt-get install -y /system-test/pool-server-dev.deb
mkdir -p /srv/crowd && cd /srv/crowd || exit 1

# What restart_clients.py asks for, and a crash.
cat > crowd.cc << 'SOURCE'
#include <pool-server/handler.hpp>

#include <chrono>
#include <stdexcept>
#include <thread>

class Crowd {
 public:
  explicit Crowd(const pool_server::HandlerOptions& options)
      : slept_(options.get("slept", "rested")) {}

  pool_server::Reply handle(std::string_view request, const pool_server::Stop& stop) {
    if (request.starts_with("echo ")) return request.substr(5);
    if (request.starts_with("sleep ")) {
      const std::string ms(request.substr(6));
      for (int left = std::stoi(ms); left > 0 && !stop.requested(); --left) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      return slept_ + " " + ms + " ms";
    }
    if (request == "fail") return pool_server::Reply::error("task failed");
    if (request == "crash") *static_cast<volatile int*>(nullptr) = 1;
    return pool_server::Reply::error("invalid input");
  }

 private:
  std::string slept_;
};
POOL_SERVER_HANDLER(Crowd)
SOURCE
builds() {
  # shellcheck disable=SC2046  # several words
  c++ -std=c++20 -O2 -Wall -Wextra -shared -fPIC $(pkg-config --cflags pool-server-handler) -o crowd.so crowd.cc
}
require 'it builds' builds
handlers=$(pkg-config --variable=handlersdir pool-server-handler)
check 'pkg-config tells where handlers are' equal /usr/lib/pool-server/handlers "$handlers"
require 'and is put there' install -m 644 crowd.so "$handlers/"
cd /system-test || exit 1

handler=crowd
printf 'handler=crowd\nhandler-option=slept=slept\n' > /tmp/try.conf
check 'the configuration is accepted' pool-server --check-config /tmp/try.conf
require 'the service runs with it' for_restart_clients 'handler-option=slept=slept' 'workers=32'
check 'its options reach it' has_value 'result: slept 1 ms' ask 'sleep 1'
processes() { cat "/sys/fs/cgroup$(systemctl show --value -p ControlGroup "$service")/cgroup.procs"; }
maps_it() { grep -q "$handlers/crowd.so" "/proc/$1/maps"; }
check 'the server has not mapped it' not maps_it "$(main_pid)"
mapped_by() {
  local count=0
  for pid in $(processes); do ! maps_it "$pid" || count=$((count + 1)); done
  equal "$1" "$count"
}
check 'but the one that loads it, and one for each worker' mapped_by 33
measure 'five restarts under load lose nothing' clients mixed 200 5 systemctl restart "$service"
check 'the store is empty again' is NFileDescriptorStore 0

# --- A crash, in a process of its own ---
pid=$(main_pid)
check 'a crash is the error of one request' has_value 'ERROR: worker crashed (SIGSEGV)' ask crash
check 'the others are served' has_value 'result: hello' ask 'echo hello'
check 'by the same server' equal "$pid" "$(main_pid)"
check 'the journal has it' event worker-crashed PRIORITY=4
many_crashes() {
  for _ in $(seq 100); do equal 'ERROR: worker crashed (SIGSEGV)' "$(ask crash)" || return; done
}
check 'a hundred of them' many_crashes
check 'leave no process behind' wait_for 5 mapped_by 33

# --- A new file, by a reload ---
require 'it is built anew' sed -i 's/"invalid input"/"not that"/' /srv/crowd/crowd.cc
(cd /srv/crowd && builds) && install -m 644 /srv/crowd/crowd.so "$handlers/crowd.new" && mv "$handlers/crowd.new" "$handlers/crowd.so"
require 'the service is reloaded' systemctl reload "$service"
says_so() { equal 'ERROR: not that' "$(ask nonsense)"; }
check 'and has the new one' wait_for 10 says_so
check 'with the same server' equal "$pid" "$(main_pid)"

# --- A crash, in the server's own process ---
require 'not isolated' for_restart_clients 'handler-option=slept=slept' 'workers=32' 'isolate=no'
pid=$(main_pid)
back() {  # by itself, without a client that would have the socket start it
  [ "$(main_pid)" != 0 ] && [ "$(main_pid)" != "$pid" ] && is SubState running
}
crashes() {
  printf 'crash\n' > /dev/tcp/127.0.0.1/9090
  local begin=${EPOCHREALTIME/./}
  wait_for 5 back || return
  local took=$((${EPOCHREALTIME/./} - begin))
  echo "back after $((took / 1000)) ms"
  [ "$took" -lt $((1000000 * POOL_SERVER_SLOWDOWN)) ]
}
measure 'after a crash it is back within a second' crashes
check 'it serves' has_value 'result: hello' ask 'echo hello'
check 'the signal was the one that it would have been' log_has 'code=dumped, status=11/SEGV\|code=killed, status=11/SEGV'
check 'the crash is an event' event crashed PRIORITY=2 SYSLOG_IDENTIFIER=pool-server
check 'the journal tells the handler' equal crowd "$(field crashed POOL_SERVER_HANDLER)"
check 'the worker' contains "$(field crashed POOL_SERVER_WORKER)" worker-
check 'the task' [ "$(field crashed POOL_SERVER_TASK)" -ge 0 ]
check 'and explains it' contains "$(journal -x --unit "$service" POOL_SERVER_EVENT=crashed)" 'The daemon has crashed'
# Those who connect while nobody accepts wait in the listening socket, which stays open.
waits_for_the_next() {
  printf 'crash\n' > /dev/tcp/127.0.0.1/9090
  for number in $(seq 20); do
    equal "result: $number" "$(ask "echo $number")" || return
    sleep 0.05
  done
}
check 'no client that comes then is refused' waits_for_the_next

# --- What does not work is told before READY ---
configure 'handler=/srv/crowd/crowd.so'
systemctl stop "$service"
check 'a handler that the service cannot see is no start' not systemctl start "$service"
check 'and the journal tells why' \
  log_has "handler '/srv/crowd/crowd.so' cannot be loaded: .*No such file or directory"
