#!/bin/bash
# Renews what development and CI install: the newest versions that pyproject.toml and constraints.txt permit, each with
# the hashes of all its files, so that what is installed is what was locked. Needs the Python Package Index.
# Run it with the oldest Python that ipfod supports (3.11): newer ones need no more than it does.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(mktemp --directory --tmpdir ipfod-lock.XXXXXXXXXX)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet pip-tools

lock() {
    local output=$1
    shift
    "$tools/bin/pip-compile" --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
        --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
        --constraint packaging/constraints.txt --output-file "$output" "$@"
}

echo 'setuptools>=61' >"$tools/build.in" # as [build-system] in pyproject.toml: builds what is no wheel
lock packaging/lock-build.txt "$tools/build.in"
lock packaging/lock.txt pyproject.toml
lock packaging/lock-test.txt --constraint packaging/lock.txt --extra test pyproject.toml
