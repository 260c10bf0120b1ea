#!/bin/bash
# Every test: all.sh PYTHON. Those on booted nodes and in virtual machines wait most of the time, and so do the others:
# both run side by side, and the output of the former comes after that of the latter.
set -u
python=$1
waiting=(tests/node tests/vm)

log=$(mktemp --tmpdir ipfod-test.XXXXXXXXXX)
"$python" -m pytest "${waiting[@]}" >"$log" 2>&1 &
trap 'kill "$!" 2>/dev/null; wait; rm -f "$log"' EXIT
trap 'exit 130' INT TERM

"$python" -m pytest "${waiting[@]/#/--ignore=}"
others=$?
wait "$!"
booted=$?
cat "$log"
((others == 0 && booted == 0))
