# What a restart's pause is made of: the pause that one active client sees, median of 25 restarts,
# with everything as it is, and without one thing at a time. tests/system/run restart-cost

pause_without() {  # WHAT LINE...
  local what=$1 told
  shift
  drop_in "$service" '[Service]' "$@"
  if systemctl restart "$service" && told=$(clients mixed 2 25 systemctl restart "$service"); then
    printf '%-36s %s\n' "$what" "$(sed -n 's/^pause: median \(.*\), worst .*/\1/p' <<< "$told")"
  else
    printf '%-36s cannot be measured\n' "$what"
  fi
  no_drop_in "$service"
}

measure_all() {
  pause_without 'all as it is' 'Nice=0'
  pause_without 'PrivateUsers=' 'PrivateUsers=no'
  pause_without 'PrivateNetwork=' 'PrivateNetwork=no'
  pause_without 'PrivateIPC=' 'PrivateIPC=no'
  pause_without 'PrivateDevices=, DevicePolicy=' 'PrivateDevices=no' 'DevicePolicy=auto'
  pause_without 'ProtectProc=, ProcSubset=' 'ProtectProc=default' 'ProcSubset=all'
  pause_without 'ProtectKernel...=, ProtectControlGroups=' 'ProtectKernelLogs=no' \
    'ProtectKernelModules=no' 'ProtectKernelTunables=no' 'ProtectControlGroups=no'
  pause_without 'ProtectHostname=' 'ProtectHostname=no'
  pause_without 'IPAddressDeny=' 'IPAddressDeny=' 'IPAddressAllow=any'
  pause_without 'SystemCallFilter=' 'SystemCallFilter=' 'SystemCallArchitectures='
  pause_without 'RestrictNamespaces= and other seccomp' 'RestrictNamespaces=no' \
    'RestrictRealtime=no' 'LockPersonality=no' 'MemoryDenyWriteExecute=no' 'RestrictSUIDSGID=no' \
    'RestrictAddressFamilies='
  pause_without 'MemoryMax=' 'MemoryMax=infinity'
  pause_without 'RootDirectory=, BindReadOnlyPaths=' 'RootDirectory=' 'BindReadOnlyPaths=' \
    'ReadOnlyPaths=' 'InaccessiblePaths=' 'NoExecPaths=' "BindReadOnlyPaths=/etc/pool-server"
  pause_without 'all of the sandbox' 'RootDirectory=' 'BindReadOnlyPaths=' 'ReadOnlyPaths=' \
    'InaccessiblePaths=' 'NoExecPaths=' 'DynamicUser=no' 'PrivateUsers=no' 'PrivateNetwork=no' \
    'PrivateIPC=no' 'PrivateDevices=no' 'PrivateTmp=no' 'PrivateMounts=no' 'DevicePolicy=auto' \
    'ProtectSystem=no' 'ProtectHome=no' 'ProtectProc=default' 'ProcSubset=all' \
    'ProtectKernelLogs=no' 'ProtectKernelModules=no' 'ProtectKernelTunables=no' \
    'ProtectControlGroups=no' 'ProtectHostname=no' 'ProtectClock=no' 'IPAddressDeny=' \
    'SystemCallFilter=' 'SystemCallArchitectures=' 'RestrictNamespaces=no' 'RestrictRealtime=no' \
    'LockPersonality=no' 'MemoryDenyWriteExecute=no' 'RestrictSUIDSGID=no' \
    'RestrictAddressFamilies=' 'NoNewPrivileges=no'
}

require 'the service runs' for_restart_clients 'workers=4'
measure 'the pause of a restart, without' measure_all
