"""The initramfs: busybox, the modules that reach the host's root over 9p, and a script that goes there.

Written in cpio's "newc" form here: uncompressed, since emulation unpacks slowly.
"""
import pathlib
import subprocess
import zlib

from testbed import Unavailable

BUSYBOX = pathlib.Path("/bin/busybox")
# What the way to the host's root goes through; their dependencies are found.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console")
HERE = pathlib.Path(__file__).resolve().parent

INIT = r"""#!/bin/busybox sh
# Process 1: from here to the host's root, with a layer of memory above it, and on to stage2.
/bin/busybox mkdir -p /proc /sys /host /layer
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
for module in {modules}; do /bin/busybox insmod /modules/$module.ko || echo "initramfs: $module was not loaded"; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose hostroot /host || exec /bin/busybox poweroff -f
/bin/busybox mount -t tmpfs -o size=75% layer /layer
/bin/busybox mkdir -p /layer/upper /layer/work /root
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /root || exec /bin/busybox poweroff -f
stage2=$(/bin/busybox tr " " "\n" </proc/cmdline | /bin/busybox sed -n "s/^sluice\.stage2=//p")
/bin/busybox umount /proc
/bin/busybox umount /sys
exec /bin/busybox switch_root /root /bin/bash $stage2
"""


def build_initramfs(modules, home):
    """Returns the path of the initramfs for the kernel with these modules; made when its contents changed."""
    if not BUSYBOX.exists():
        raise Unavailable("/bin/busybox is missing (package busybox-static)")
    files = load_order(modules)
    entries = {"init": (0o100755, INIT.format(modules=" ".join(path.stem for path in files)).encode()),
               "bin/busybox": (0o100755, BUSYBOX.read_bytes())}
    for path in files:
        entries[f"modules/{path.name}"] = (0o100644, path.read_bytes())
    image = archive(["bin", "modules", "dev"], entries)
    path = home / f"initramfs-{zlib.crc32(image):08x}.cpio"
    if not path.exists():
        for old in home.glob("initramfs-*.cpio"):
            old.unlink()
        partial = path.with_suffix(".partial")
        partial.write_bytes(image)
        partial.rename(path)
    return path


def load_order(modules):
    """The modules' files, each after those that it needs."""
    order = []
    for name in MODULES:
        shown = subprocess.run(["/sbin/modprobe", "-d", modules.parents[2], "-S", modules.name, "--show-depends", name],
                               capture_output=True, text=True, timeout=30)
        if shown.returncode != 0:
            raise Unavailable(f"module {name}: {shown.stderr.strip()}")
        for line in shown.stdout.splitlines():
            word, _, path = line.strip().partition(" ")
            path = pathlib.Path(path.split()[0])
            if word == "insmod" and path not in order:
                order.append(path)
    return order


def archive(folders, entries):
    """A cpio archive of the "newc" form. entries: name -> (mode, bytes)."""
    out = bytearray()

    def add(number, name, mode, data=b""):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out.extend(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(data)
        out.extend(b"\0" * (-len(out) % 4))

    number = 1
    for folder in folders:
        add(number, folder, 0o040755)
        number += 1
    for name, (mode, data) in entries.items():
        add(number, name, mode, data)
        number += 1
    add(number, "TRAILER!!!", 0)
    return bytes(out)
