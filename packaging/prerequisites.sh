#!/bin/bash
# Installs the distribution's packages that a checkout needs and this machine lacks. Says nothing when it lacks none.
# `prerequisites.sh rpm` installs those that build the package, `prerequisites.sh nodes` those that boot the nodes, the
# kernel and the browser that tests run on, `prerequisites.sh readers` those that judge the package and its policy, read
# the manual and complete commands.
set -euo pipefail

debian=(
    keepalived nftables python3-nftables python3-systemd python3-venv dbus iproute2 util-linux iputils-ping procps kmod
    iptables libglib2.0-bin systemd strace
)
fedora=(
    keepalived nftables python3-nftables python3-systemd python3-pip dbus-daemon dbus-tools iproute util-linux iputils
    procps-ng kmod iptables-nft glib2 systemd strace
)
if [[ ${1:-} == rpm ]]; then
    debian=(rpm)
    fedora=(rpm-build bzip2 systemd-rpm-macros selinux-policy-devel)
elif [[ ${1:-} == nodes ]]; then
    debian=(debootstrap systemd-container qemu-system-x86 cpio chromium chromium-driver python3-selenium)
    fedora=() # RHEL lacks most of them: those tests are skipped
elif [[ ${1:-} == readers ]]; then
    debian=(rpmlint cpio selinux-policy-dev policycoreutils man-db mandoc bash zsh fish)
    fedora=(rpmlint cpio man-db mandoc bash zsh fish) # RHEL has some of them in EPEL alone
fi

fail() {
    echo "prerequisites: $*" >&2
    exit 1
}

# Prints those of the packages given that are not installed.
missing_debian() {
    comm -23 <(printf '%s\n' "$@" | sort) <(
        dpkg-query --show --showformat='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
            sed -n 's/^installed //p' | sort
    )
}

missing_fedora() {
    local package
    for package in "$@"; do
        rpm --quiet --query --whatprovides "$package" || echo "$package"
    done
}

install_debian() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get --quiet --quiet update
    apt-get --quiet --quiet --yes --no-install-recommends install "$@"
}

install_fedora() {
    dnf --quiet --assumeyes install "$@"
}

if command -v apt-get >/dev/null; then
    system=debian packages=("${debian[@]}")
elif command -v dnf >/dev/null; then
    system=fedora packages=("${fedora[@]}")
else
    fail "this is neither Debian nor Fedora or RHEL: install keepalived, nftables with its Python binding, dbus-daemon," \
        "iproute2 and util-linux by hand"
fi

mapfile -t missing < <("missing_$system" "${packages[@]}")
((${#missing[@]} == 0)) && exit 0

((EUID == 0)) || fail "only root may install ${missing[*]}"
echo "prerequisites: installing ${missing[*]}"
"install_$system" "${missing[@]}"

# Debian enables what it installs. Nodes of the lab start keepalived themselves; this machine is none.
if [[ " ${missing[*]} " == *" keepalived "* && -d /run/systemd/system ]]; then
    systemctl disable --quiet --now keepalived.service
fi
