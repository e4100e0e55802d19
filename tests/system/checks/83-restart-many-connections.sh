# 4,000 idle connections: none is lost in a restart, nor do they make the active ones wait for long.

require 'the service runs' for_restart_clients 'max-connections=4096'
measure 'five restarts' clients idle 4000 5 systemctl restart "$service"
check 'all were handed over' log_has 'handed over 4000 connections'
check 'all were restored' log_has 'restored 4000 connections'
check 'the store is empty again' is NFileDescriptorStore 0
