#!/bin/bash
# Makes the root file system of a booted node: make_image.sh DIRECTORY MIRROR. To be run in a mount namespace of its
# own, so that no mount is left, by whatever end.
set -euo pipefail
. "$(dirname "$0")/apt.sh"

directory=$1 mirror=$2
suite=bookworm

packages=(
    systemd systemd-sysv libpam-systemd dbus  # the system
    keepalived nftables netbase iproute2 kmod # what ipfod drives; netbase: the names of protocols
    rpm                                       # how it gets there
    python3 python3-nftables python3-systemd python3-yaml
    python3-dbus-next python3-pyroute2 python3-sdnotify
    iputils-ping procps libglib2.0-bin # what tests look through
)
# They depend on virtual packages, which debootstrap does not know. Those who manage firewall and addresses elsewhere,
# and Cockpit, are there for tests to start.
packages_by_apt=(polkitd firewalld iptables network-manager cockpit-ws cockpit-bridge cockpit-system sudo)

# Nothing that a test is about, but time at each boot, or work at an hour that nobody chose.
masked=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    getty@tty1.service console-getty.service systemd-pstore.service
)

use_proxy_of_apt
list=$(IFS=,; echo "${packages[*]}")
debootstrap --variant=minbase --include="$list" "$suite" "$directory" "$mirror"
apt_begin "$directory"
apt_get "$directory" --no-install-recommends install "${packages_by_apt[@]}"
apt_end "$directory"

rm -f "$directory/etc/hostname" # of this machine, by debootstrap
systemctl --quiet --root="$directory" mask "${masked[@]}"
systemctl --quiet --root="$directory" disable keepalived.service firewalld.service NetworkManager.service \
    NetworkManager-wait-online.service NetworkManager-dispatcher.service cockpit.socket
systemctl --quiet --root="$directory" enable nftables.service
mkdir -p "$directory/var/log/journal" "$directory/etc/systemd/journald.conf.d" # a journal that outlives a power cut
printf '[Journal]\nRateLimitBurst=0\n' >"$directory/etc/systemd/journald.conf.d/every-line.conf"
chroot "$directory" useradd --create-home user # an ordinary one
