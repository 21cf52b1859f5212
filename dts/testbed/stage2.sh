#!/bin/bash
# Process 1 of a machine, after the initramfs: the host's root is /, read-only but for a layer of memory. Mounts what a machine
# of its own needs, then lets the agent speak until it is told to end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/hugepages
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
value() { tr ' ' '\n' </proc/cmdline | sed -n "s/^sluice\\.$1=//p"; }
agent=$(value agent)
# A checkout in one of these must not be hidden.
for folder in /tmp /var/tmp; do
  case $agent in "$folder"/*) ;; *) mount -t tmpfs tmp "$folder" ;; esac
done
mount -t hugetlbfs -o pagesize=2M hugepages /dev/hugepages
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mkdir -p /run/netns /run/lock

modules=$(value modules)
# The host's own modules are not this kernel's.
mkdir -p "/lib/modules/$(uname -r)"
mount --bind "$modules" "/lib/modules/$(uname -r)"
hostname "$(value name)"

# DPDK loads every driver that it finds: under emulation, all of Debian's take 10 s at each start.
for folder in /usr/lib/x86_64-linux-gnu/dpdk/pmds-*; do
  mkdir -p /usr/lib/sluice-pmds
  mount --bind "$folder" /usr/lib/sluice-pmds
  mount -t tmpfs -o mode=755 pmds "$folder"
  for name in $(value pmds | tr , ' '); do
    for library in /usr/lib/sluice-pmds/librte_"$name".so*; do ln -s "$library" "$folder"; done
  done
done
ip link set lo up

/usr/bin/python3 -I "$agent"
sync
exec 3<>/dev/console
echo o >/proc/sysrq-trigger
# The power goes off while this waits; no program can be run any more.
while :; do read -r -t 5 -u 3 _; done
