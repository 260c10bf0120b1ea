#!/bin/bash
# Every test: all.sh PYTHON. Most of them wait most of the time, so two halves that take as long as each other run side
# by side: those in namespaces, and all others. The output of the latter comes after that of the former.
set -u
python=$1
others=(tests/test_linters.py tests/unit tests/node tests/vm)

log=$(mktemp --tmpdir ipfod-test.XXXXXXXXXX)
"$python" -m pytest "${others[@]}" >"$log" 2>&1 &
trap 'kill "$!" 2>/dev/null; wait; rm -f "$log"' EXIT
trap 'exit 130' INT TERM

"$python" -m pytest "${others[@]/#/--ignore=}"
first=$?
wait "$!"
second=$?
cat "$log"
((first == 0 && second == 0))
