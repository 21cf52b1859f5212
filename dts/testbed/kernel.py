"""Debian's kernel package, unpacked to a cache folder: the kernel, its modules, and the initramfs that boots them.

Nothing is installed. The package is downloaded once (70 MB) and kept in /var/cache/sluice-dts (SLUICE_DTS_CACHE), unpacked
without the modules that no machine here can use. Without a network, what is in the cache serves.
"""
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
from dataclasses import dataclass

from testbed import Unavailable
from testbed.initramfs import build_initramfs

META_PACKAGE = "linux-image-amd64"
# Kinds of modules that an emulated machine of ours has no device for: three quarters of the package.
UNUSED = ("sound", "drivers/gpu", "drivers/media", "drivers/infiniband/hw", "drivers/iio", "drivers/isdn", "drivers/hid",
          "drivers/staging", "drivers/input", "drivers/usb", "drivers/hwmon", "drivers/net/wireless")
DOWNLOAD_SECONDS_MAX = 300


@dataclass(frozen=True)
class Kernel:
    release: str  # 6.1.0-56-amd64
    image: pathlib.Path
    modules: pathlib.Path  # what is /lib/modules/RELEASE in a machine
    initramfs: pathlib.Path


def cache_folder():
    """Where downloads are kept: shared by all checkouts of this machine."""
    folder = pathlib.Path(os.environ.get("SLUICE_DTS_CACHE", "/var/cache/sluice-dts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_kernel():
    """The newest kernel in the cache; downloaded first where there is none.

    Raises Unavailable: no package to be had.
    """
    folder = cache_folder()
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unpacked = unpacked_releases(folder)
        if not unpacked:
            unpack(download(folder), folder)
            unpacked = unpacked_releases(folder)
        release = unpacked[-1]
        home = folder / release
        modules = home / "lib" / "modules" / release
        return Kernel(release, home / "boot" / f"vmlinuz-{release}", modules, build_initramfs(modules, home))


def unpacked_releases(folder):
    def order(release):
        return [int(number) for number in re.findall(r"\d+", release)]
    return sorted((path.parent.name for path in folder.glob("*/complete")), key=order)


def download(folder):
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"the kernel package needs {tool} (Debian)")
    shown = subprocess.run(["apt-cache", "depends", META_PACKAGE], capture_output=True, text=True, timeout=60)
    found = re.search(r"Depends: (linux-image-\S+)", shown.stdout)
    if not found:
        raise Unavailable(f"apt knows no {META_PACKAGE} (apt-get update?)")
    packages = sorted(folder.glob(f"{found[1]}_*.deb"))
    if packages:
        return packages[-1]
    try:
        done = subprocess.run(["apt-get", "download", "-q", found[1]], cwd=folder, capture_output=True, text=True,
                              timeout=DOWNLOAD_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{found[1]} could not be downloaded in {DOWNLOAD_SECONDS_MAX} s") from None
    packages = sorted(folder.glob(f"{found[1]}_*.deb"))
    if done.returncode != 0 or not packages:
        reason = done.stderr.strip().splitlines()
        raise Unavailable(f"{found[1]} cannot be downloaded: {reason[-1] if reason else 'apt-get failed'}")
    return packages[-1]


def unpack(package, folder):
    release = re.match(r"linux-image-(.+?)_", package.name)[1]
    partial = folder / f".{release}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    unused = [f"--exclude=./lib/modules/*/kernel/{kind}" for kind in UNUSED]
    archive = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
    try:
        subprocess.run(["tar", "-x", "-C", partial, *unused, "./boot", "./lib/modules"], stdin=archive.stdout, check=True,
                       timeout=300)
    finally:
        archive.stdout.close()
        archive.wait()
    subprocess.run(["/sbin/depmod", "-b", partial, release], check=True, timeout=120)
    (partial / "complete").touch()
    shutil.rmtree(folder / release, ignore_errors=True)
    partial.rename(folder / release)
    package.unlink()
