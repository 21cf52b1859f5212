"""What links between QEMUs are made of on the host: unix sockets, or a namespace with a bridge and tap devices."""
import contextlib
import fcntl
import os
import pathlib
import struct

from rig.namespace import Namespace, carry_everything, disable_ipv6

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
PREFIX = "sl-dts-"


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
            self._namespace.close()
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
            self._namespace = Namespace("wires", PREFIX)
            carry_everything(self._namespace)
        bridge = f"br{link.place}"
        self._namespace.ip("link", "add", bridge, "mtu", link.mtu, "type", "bridge", "mcast_snooping", "0")
        self._namespace.ip("link", "set", bridge, "up")
        for nic in link.ends:
            name = f"t{link.place}-{nic.end}"
            nic.descriptors = self._open_tap(name, nic.queues)
            self._namespace.ip("link", "set", name, "mtu", link.mtu, "master", bridge, "up")

    def _open_tap(self, name, queues):
        """Returns a descriptor for each queue of a new tap device."""
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if queues > 1 else 0)
        opened = []
        with self._namespace.entered():
            for _ in range(queues):
                descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                self._descriptors.append(descriptor)
                fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", name.encode(), flags))
                opened.append(descriptor)
        disable_ipv6(self._namespace, name)
        return opened
