#!/bin/sh
# The first process of a bed host, until it hands over to the supervisor. Runs inside fresh net, mount, UTS,
# IPC and PID namespaces. Arguments: folder of the host, its name, its number of boots, the bed's program.
set -eu
d=$1 name=$2 boot=$3 program=$4

# The old /proc is still mounted: it shows this process's number as the machine sees it.
read -r pid rest < /proc/self/stat
echo "$pid" > "$d/pid.new"
mv "$d/pid.new" "$d/pid"

cd /
hostname "$name"
mount -t proc proc /proc
cp "$d/boot_id" "$d/boot_id.$boot"
mount --bind "$d/boot_id.$boot" /proc/sys/kernel/random/boot_id

# A fresh sysfs shows this host's interfaces only; the cgroup mounts are carried over.
mkdir -p "$d/cg"
mount --rbind /sys/fs/cgroup "$d/cg"
mount -t sysfs sysfs /sys
mount --rbind "$d/cg" /sys/fs/cgroup
umount -l "$d/cg"

# What a host writes stays on its own disk; what it only reads comes from the machine.
for at in etc usr/local var/lib var/log root; do
  mkdir -p "/$at" "$d/disk/$at" "$d/scratch/$at"
  mount -t overlay overlay -o "lowerdir=/$at,upperdir=$d/disk/$at,workdir=$d/scratch/$at" "/$at"
done
for at in etc/systemd/system etc/shoal var/lib/docker var/lib/shoal; do
  mkdir -p "/$at" "$d/own/$at"
  mount --bind "$d/own/$at" "/$at"
done

mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -p /run/lock /run/systemd/system /run/bed/bin
for tool in systemctl journalctl; do
  printf '#!/bin/sh\nexec %s %s "$@"\n' "$program" "$tool" > "/run/bed/bin/$tool"
  chmod 755 "/run/bed/bin/$tool"
done

# As on a machine that forwards nothing until its Engine says so (the Engine then sets FORWARD to DROP).
echo "${BED_IP_FORWARD:-0}" > /proc/sys/net/ipv4/ip_forward
exec "$program" init
