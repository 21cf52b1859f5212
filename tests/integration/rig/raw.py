"""Frames by hand, for what no well-behaved client sends."""
import selectors
import socket
import struct
import threading


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_segment(source, destination, *, source_port, port=80, sequence=1000, acknowledgment=0, flags=0x02, options=b"",
                payload=b"", window=65535, urgent=0):
    """An IPv4 packet with a TCP segment in it (flags: 0x02 SYN, 0x10 ACK, 0x04 RST, 0x01 FIN)."""
    options += b"\0" * (-len(options) % 4)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!HHIIBBHHH", source_port, port, sequence, acknowledgment, (5 + len(options) // 4) << 4, flags,
                         window, 0, urgent) + options
    length = len(header) + len(payload)
    total = checksum(addresses + struct.pack("!BBH", 0, 6, length) + header + payload)
    header = header[:16] + struct.pack("!H", total) + header[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0x4000, 64, 6, 0) + addresses
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return ip + header + payload


class Injector:
    """Puts Ethernet frames on the client's link."""

    def __init__(self, site, link, destination_mac):
        self.socket = site.client.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0))
        self.socket.bind((link, 0))
        self.source_mac = self.socket.getsockname()[4]
        self.destination_mac = destination_mac

    def close(self):
        self.socket.close()

    def send_ipv4(self, packet):
        self.send(self.destination_mac + self.source_mac + b"\x08\x00" + packet)

    def send(self, frame):
        try:
            self.socket.send(frame)
        except OSError as error:  # the link's queue is full: not what is tested
            if error.errno != 105:
                raise


def neighbor_mac(site, family=4):
    """The link address that the client's kernel has learnt for the server."""
    words = site.client.run("ip", "neighbor", "show", site.host(family).strip("[]")).stdout.decode().split()
    return bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))


class VlanShim:
    """Carries frames between an untagged and a tagged link, in a thread of its own.

    The kernel takes a received tag out of the frame and tells it beside (packet(7), PACKET_AUXDATA).
    """

    SOL_PACKET, PACKET_AUXDATA, TAG_VALID = 263, 8, 0x10
    ETH_P_ALL, PACKET_OUTGOING = 3, 4

    def __init__(self, namespace, *, untagged, tagged, vlan):
        self.vlan = vlan
        self.wrong_tags = 0
        self.sockets = {}
        for link in (untagged, tagged):
            end = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(self.ETH_P_ALL))
            end.bind((link, self.ETH_P_ALL))
            end.setsockopt(self.SOL_PACKET, self.PACKET_AUXDATA, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            self.sockets[link] = end
        self.untagged, self.tagged = self.sockets[untagged], self.sockets[tagged]
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def close(self):
        self.stopped.set()
        self.thread.join()
        for end in self.sockets.values():
            end.close()

    def _run(self):
        selector = selectors.DefaultSelector()
        for end in self.sockets.values():
            selector.register(end, selectors.EVENT_READ)
        while not self.stopped.is_set():
            for key, _ in selector.select(timeout=0.2):
                try:
                    frame, ancillary, _, address = key.fileobj.recvmsg(65536, 256)
                except OSError:
                    continue  # the link went down
                if address[2] == self.PACKET_OUTGOING:
                    continue
                try:
                    if key.fileobj is self.untagged:
                        self.tagged.send(frame[:12] + struct.pack("!HH", 0x8100, self.vlan) + frame[12:])
                    elif self._tag(ancillary) == self.vlan:
                        self.untagged.send(frame)
                    else:
                        self.wrong_tags += 1
                except OSError:
                    pass  # full, or going away: a lost frame
        selector.close()

    def _tag(self, ancillary):
        for level, kind, data in ancillary:
            if (level, kind) == (self.SOL_PACKET, self.PACKET_AUXDATA):
                status, tag = struct.unpack_from("I12xH", data)
                return tag & 0xFFF if status & self.TAG_VALID else None
        return None
