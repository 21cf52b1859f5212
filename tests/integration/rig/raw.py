"""Frames by hand, for what no well-behaved client sends."""
import socket
import struct


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
