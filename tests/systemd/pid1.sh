#!/bin/sh
# Runs as PID 1 of fresh namespaces: lays a scratch layer over the machine's own root, quietens what is not
# wanted in there, and becomes systemd. Arguments: a scratch directory, then SOURCE TARGET pairs to bind.
set -eu

scratch=$1
shift
root=$scratch/root
mkdir -p "$root" "$scratch/layer"
mount -t tmpfs -o mode=0755 layer "$scratch/layer"
mkdir "$scratch/layer/upper" "$scratch/layer/work"
mount -t overlay -o "lowerdir=/,upperdir=$scratch/layer/upper,workdir=$scratch/layer/work" overlay "$root"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=0755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=0755 dev "$root/dev"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
while [ $# -gt 0 ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done

# Nothing that the machine would start: only the journal. An installation of ours is not taken over, either.
units=$root/etc/systemd/system
rm -rf "$units" "$root/etc/systemd/system-generators" "$root/etc/fstab" "$root/etc/machine-id"
rm -rf "$root/opt/queuewarden" "$root/etc/queuewarden" "$root/etc/sysusers.d" "$root/usr/local/bin/queuewarden"
rm -rf "$root/var/lib/private/queuewarden" "$root/var/lib/queuewarden" "$root/var/log/journal"
mkdir -p "$units" "$root/etc/systemd/system-generators" "$root/etc/systemd/journald.conf.d"
tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
for generator in /lib/systemd/system-generators/* /usr/local/lib/systemd/system-generators/*; do
    ln -sf /dev/null "$root/etc/systemd/system-generators/${generator##*/}"
done
for wish in /lib/systemd/system/*.target.wants/*; do
    case ${wish##*/} in systemd-journald.s* | systemd-journald-dev-log.socket) continue ;; esac
    target=${wish%/*}
    mkdir -p "$units/${target##*/}"
    ln -sf /dev/null "$units/${target##*/}/${wish##*/}"
done
ln -s /dev/null "$units/systemd-journald-audit.socket"
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\n' \
    >"$root/etc/systemd/journald.conf.d/box.conf"

mkdir "$root/run/machine"
cd "$root"
pivot_root . run/machine
umount -l /run/machine
rmdir /run/machine
# systemd expects to find the root shared, as it makes it itself where it boots a machine.
mount --make-rshared /
exec env -i container=box PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    /lib/systemd/systemd --system --unit=basic.target --show-status=no --crash-reboot=no
