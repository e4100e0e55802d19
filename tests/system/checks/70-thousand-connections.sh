# 1,000 clients at once, the first of which start the service.

check 'the service is not running yet' is ActiveState inactive
check '1,000 clients at once are answered, by the service they start' \
  /usr/bin/python3 clients.py 1000
check 'and once more' /usr/bin/python3 clients.py 1000
check 'none of them is left' wait_for 10 has_value 1 stat_value connections
descriptors=$(ls "/proc/$(main_pid)/fd" | wc -l)
check 'and a third time' /usr/bin/python3 clients.py 1000
check 'which left no descriptor open' \
  wait_for 10 equal "$descriptors" "$(ls "/proc/$(main_pid)/fd" | wc -l)"

configure 'max-connections=100'
check 'with a limit of 100' systemctl restart "$service"
check '90 are answered' /usr/bin/python3 clients.py 90
check '150 keep the limit' /usr/bin/python3 clients.py --refused-too 150
check 'which is reported' wait_for 5 event connection-limit
check 'after that it serves' wait_for 10 works
