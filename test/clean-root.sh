#!/usr/bin/env bash
# clean-root.sh FOLDER: boots systemd in a copy of this machine's file system, and
# says its process id. Everything that is done there is gone when the standard
# input ends; the network is this machine's. Root only, on Linux.
set -euo pipefail
folder=$1
if [ $# = 1 ]; then
  # A group of its own for what systemd does with groups.
  mount -t cgroup2 cgroup "$folder"
  group=$folder/jetrpc-test-$$
  mkdir "$group"
  echo 0 >"$group/cgroup.procs"
  unshare --mount --pid --cgroup --uts --ipc --fork --kill-child "$0" "$folder" inside </dev/null &
  cat >/dev/null
  kill -9 $! 2>/dev/null || true
  wait
  echo 0 >"$folder/cgroup.procs"
  until find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do sleep 0.1; done
  umount "$folder"
  rmdir "$folder"
  exit
fi

mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
mount -t proc proc "$root/proc"
mount -o bind,ro "$root/proc/sys" "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
for part in run tmp dev dev/shm; do
  mkdir -p "$root/$part"
  mount -t tmpfs tmpfs "$root/$part"
done
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
# What is changed, for clean-root.ts to see.
mkdir "$root/run/changes"
mount --bind "$folder/upper" "$root/run/changes"
# Nothing is started but systemd and its journal.
find "$root"/{etc,lib}/systemd/system/*.wants -mindepth 1 ! -name 'systemd-journald*' -delete
ln -sf /dev/null "$root/etc/systemd/system/systemd-remount-fs.service"
: >"$root/etc/machine-id"
# The id that this process has outside, in the words of the outer /proc.
read -r id _ </proc/self/stat
echo "$id"
cd "$root"
pivot_root . mnt
umount --lazy mnt
exec env -i container=jetrpc /lib/systemd/systemd --unit=multi-user.target \
  </dev/null >/dev/null 2>&1
