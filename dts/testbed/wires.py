"""What links are made of on the host: unix sockets between two QEMUs, or a namespace with a bridge and tap devices.

Everything made here has a name with the runner's process id, so that a later run can take away what a killed one left.
"""
import contextlib
import ctypes
import fcntl
import os
import pathlib
import re
import struct
import subprocess
import threading

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
PREFIX = "sl-dts-"
_libc = ctypes.CDLL(None, use_errno=True)


class Wires:
    """The host's side of a topology's links."""

    def __init__(self, topology, folder):
        """folder: for sockets; its path is short."""
        self._folder = pathlib.Path(folder)
        self._namespace = None
        self._descriptors = []
        self._topology = topology
        try:
            for link in topology.links.values():
                (self._join_by_taps if link.kind == "tap" else self._join_by_socket)(link)
        except BaseException:
            self.close()
            raise

    def close(self):
        for descriptor in self._descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._descriptors = []
        if self._namespace:
            subprocess.run(["ip", "netns", "delete", self._namespace], capture_output=True)
        self._namespace = None

    def _join_by_socket(self, link):
        first, second = link.ends
        here, there = (self._folder / f"{nic.id}.wire" for nic in link.ends)
        # Unix datagrams: a frame each; a full receiver holds the sender up, so nothing is lost; either end may come and go.
        words = "local.type=unix,local.path={},remote.type=unix,remote.path={}"
        first.socket = words.format(here, there)
        second.socket = words.format(there, here)

    def _join_by_taps(self, link):
        if not self._namespace:
            self._namespace = f"{PREFIX}{os.getpid()}-{threading.get_native_id()}"
            ip("netns", "add", self._namespace)
        bridge = f"br{link.place}"
        self._ip("link", "add", bridge, "mtu", link.mtu, "type", "bridge", "mcast_snooping", "0")
        self._ip("link", "set", bridge, "up")
        for nic in link.ends:
            name = f"t{link.place}-{nic.end}"
            nic.descriptors = self._open_tap(name, nic.queues)
            self._ip("link", "set", name, "mtu", link.mtu, "master", bridge, "up")

    def _open_tap(self, name, queues):
        """Returns a descriptor for each queue of a new tap device."""
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if queues > 1 else 0)
        opened = []
        with entered(self._namespace):
            for _ in range(queues):
                descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                self._descriptors.append(descriptor)
                fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", name.encode(), flags))
                opened.append(descriptor)
            pathlib.Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        return opened

    def _ip(self, *words):
        ip("-n", self._namespace, *words)


@contextlib.contextmanager
def entered(namespace):
    """The calling thread is inside a network namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        setns(there)
        yield
    finally:
        setns(home)
        os.close(there)
        os.close(home)


def setns(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def ip(*words):
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")


def sweep():
    """Takes away the namespaces of runners that are no more. Returns their names."""
    swept = []
    folder = pathlib.Path("/run/netns")
    for path in folder.glob(f"{PREFIX}*") if folder.exists() else ():
        found = re.match(rf"{PREFIX}(\d+)-", path.name)
        if found and not pathlib.Path(f"/proc/{found[1]}").exists():
            subprocess.run(["ip", "netns", "delete", path.name], capture_output=True)
            swept.append(path.name)
    return swept
