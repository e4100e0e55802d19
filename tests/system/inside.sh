# Run inside the machine as root: inside.sh SCRIPT. Runs one file of checks.
cd /system-test || exit 1
. ./lib.sh
# shellcheck source=/dev/null
. "./$1"
finish
