# Sourced: apt inside of a root file system below a directory, with the settings of this machine's own apt: a proxy,
# how mirrors are to be reached and trusted.

# Lets debootstrap use the proxy that apt uses.
use_proxy_of_apt() {
    command -v apt-config >/dev/null || return 0
    local proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    if [[ -n $proxy ]]; then
        export http_proxy=$proxy
    fi
}

# apt_begin DIRECTORY: from then on nothing is started there on installation.
apt_begin() {
    mount -t proc proc "$1/proc"
    cp /etc/resolv.conf "$1/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
    chmod 755 "$1/usr/sbin/policy-rc.d"
    if command -v apt-config >/dev/null; then
        apt-config dump --no-empty | grep '^Acquire::' >"$1/tmp/apt.conf" || true
    fi
    if [[ -e /etc/ssl/certs/ca-certificates.crt ]]; then # for mirrors with https: the image has no certificates
        cp /etc/ssl/certs/ca-certificates.crt "$1/tmp/"
        echo 'Acquire::https::CAInfo "/tmp/ca-certificates.crt";' >>"$1/tmp/apt.conf"
    fi
    apt_get "$1" update
}

# apt_get DIRECTORY ARGUMENT…
apt_get() {
    local directory=$1
    shift
    chroot "$directory" env APT_CONFIG=/tmp/apt.conf DEBIAN_FRONTEND=noninteractive apt-get -qq --yes "$@"
}

# apt_end DIRECTORY: leaves no trace of the above.
apt_end() {
    apt_get "$1" clean
    umount "$1/proc"
    rm -rf "$1"/tmp/* "$1"/var/lib/apt/lists/* "$1/usr/sbin/policy-rc.d" "$1/etc/resolv.conf"
}
