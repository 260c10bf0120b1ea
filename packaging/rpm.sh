#!/bin/bash
# Builds the RPM from what is in this checkout, committed or not: rpm.sh OUTPUT-DIRECTORY [RELEASE]
# RPMBUILD_OPTIONS are rpmbuild's: with "--with selinux" the policy module is built on Debian too, for Debian's policy.
# Needs rpmbuild and, the first time, the Python Package Index. PIP says which pip is to ask it.
set -euo pipefail

(($# == 1 || $# == 2)) || { echo 'usage: rpm.sh OUTPUT-DIRECTORY [RELEASE]' >&2; exit 2; }
mkdir -p "$1"
output=$(realpath "$1") release=${2:-1}
cd "$(dirname "$0")/.."
spec=packaging/ipfod.spec
hashes=$PWD/packaging/bundled.sha256
bundled=build/bundled
version=$(sed -n 's/^Version: *//p' "$spec")

top=$(mktemp --directory --tmpdir ipfod-rpm.XXXXXXXXXX)
trap 'rm -rf "$top"' EXIT
mkdir "$top/sources"

# Pure Python alone: nothing is built, and the hashes know exactly one file for each.
fetch_bundled() {
    "${PIP:-.venv/bin/pip}" download --quiet --disable-pip-version-check --no-deps --dest "$top/download" \
        --only-binary dbus-next,prometheus-client,pyroute2 --no-binary sdnotify \
        --constraint packaging/constraints.txt dbus-next prometheus-client pyroute2 sdnotify
    (cd "$top/download" && sha256sum --check --quiet "$hashes")
    mkdir -p "$bundled"
    mv "$top"/download/* "$bundled"
}

(cd "$bundled" 2>/dev/null && sha256sum --check --status "$hashes" 2>/dev/null) || fetch_bundled
sed 's/^[0-9a-f]* *//' "$hashes" | (cd "$bundled" && xargs cp --target-directory "$top/sources")

# The same sources make the same package, bit for bit: every time in it is that of the last commit, or, outside of
# a repository, of the newest entry in the spec's changelog.
changed=$(sed -n 's/^\* \(... ... .. ....\) .*/\1 UTC/p' "$spec" | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date --date "$changed" +%s)}
export SOURCE_DATE_EPOCH

tar --create --gzip --file "$top/sources/ipfod-$version.tar.gz" \
    --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --exclude=__pycache__ --transform="s,^,ipfod-$version/," \
    LICENSE ./*.md cockpit dbus docs ipfod packaging systemd

read -ra options <<<"${RPMBUILD_OPTIONS:-}"
stand_ins=()
[[ -n $(rpm --eval '%{?_unitdir}') ]] || stand_ins=(--load packaging/debian.macros --nodeps)
rpmbuild -bb --quiet "${stand_ins[@]}" \
    --define "_topdir $top" --define "_tmppath $top" --define "_sourcedir $top/sources" \
    --define "ipfod_release $release" \
    --define 'clamp_mtime_to_source_date_epoch 1' --define 'use_source_date_epoch_as_buildtime 1' \
    --define '_buildhost reproducible' "${options[@]}" \
    "$spec" >"$top/log" 2>&1 || { cat "$top/log" >&2; exit 1; }

for package in "$top"/RPMS/noarch/*.rpm; do
    mv "$package" "$output"
    echo "$output/$(basename "$package")"
done
