#!/bin/bash
# Makes what a virtual machine boots from: make_kernel.sh DIRECTORY IMAGE. IMAGE is a booted node's root file system;
# DIRECTORY gets `vmlinuz`, a kernel of the same distribution, and `root.cpio`, the file system with its modules. To be
# run in a mount namespace of its own, so that no mount is left, by whatever end.
set -euo pipefail
. "$(dirname "$0")/../node/apt.sh"

directory=$1 image=$2
kernel=linux-image-cloud-amd64 # without the drivers of real hardware, and with every network module

# Nobody reads them there, and each megabyte costs time at boot.
left_out=(./boot ./usr/share/doc ./usr/share/man ./usr/share/locale ./usr/share/info ./usr/share/zoneinfo)

work=$directory/work root=$directory/work/root
mkdir "$work"
mount -t tmpfs work "$work"
mkdir "$root" "$work/upper" "$work/overlay"
mount -t overlay -o "lowerdir=$image,upperdir=$work/upper,workdir=$work/overlay" root "$root"

apt_begin "$root"
package=$(chroot "$root" apt-cache depends --important "$kernel" | sed -n 's/^ *Depends: //p')
# Not installed: that would make an initial file system for hardware that nobody has.
chroot "$root" sh -c "cd /tmp && APT_CONFIG=/tmp/apt.conf apt-get -qq download $package"
dpkg-deb --fsys-tarfile "$root"/tmp/"$package"_*.deb | tar -x --keep-directory-symlink -C "$root"
chroot "$root" depmod "${package#linux-image-}"
apt_end "$root"

cp "$root/boot/vmlinuz-${package#linux-image-}" "$directory/vmlinuz"
prune=()
for path in "${left_out[@]}"; do
    prune+=(-path "$path" -prune -o)
done
# Not compressed: the kernel would be slower at unpacking than at copying.
(cd "$root" && find . -xdev "${prune[@]}" -print0 | cpio --null --create --format=newc --quiet) >"$directory/root.cpio"
umount "$root" "$work"
rmdir "$work"
