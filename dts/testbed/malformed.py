"""Malformed frames, out of a packet socket: runs inside a machine, alone (python3 -I malformed.py '{"interface": ..}'; "only": counters).

Each kind is wrong in one way and right in every other, so that just one counter of sluice's may tell of it. Prints {counter: frames sent}.
"""
import json
import socket
import struct
import sys

IPV4, IPV6, ARP, UNKNOWN = 0x0800, 0x86DD, 0x0806, 0x88B5  # the last: IEEE 802, local experiments
TCP, NO_NEXT, FRAGMENT, ROUTING = 6, 59, 44, 43


def total(data):
    data += b"\0" * (len(data) % 2)
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return ~value & 0xFFFF


class Maker:
    def __init__(self, target_mac, source_mac, source, target, source6, target6):
        self._macs = bytes.fromhex(target_mac.replace(":", "")) + bytes.fromhex(source_mac.replace(":", ""))
        self.source, self.target = socket.inet_aton(source), socket.inet_aton(target)
        self.source6, self.target6 = (socket.inet_pton(socket.AF_INET6, each) for each in (source6, target6))

    def frame(self, ether_type, packet, group=False):
        macs = b"\xff" * 6 + self._macs[6:] if group else self._macs
        return (macs + struct.pack("!H", ether_type) + packet).ljust(60, b"\0")

    def ipv4(self, body=b"", first=0x45, length=None, fragment=0, flip=0, source=None):
        length = 20 + len(body) if length is None else length
        source = source or self.source
        head = struct.pack("!BBHHHBBH4s4s", first, 0, length, 1, fragment, 64, TCP, 0, source, self.target)
        return head[:10] + struct.pack("!H", total(head) ^ flip) + head[12:] + body

    def ipv6(self, body=b"", first=0x60, length=None, kind=TCP, source=None):
        length = len(body) if length is None else length
        return struct.pack("!B3xHBB16s16s", first, length, kind, 64, source or self.source6, self.target6) + body

    def tcp(self, family=4, port=80, from_port=40000, offset=5, flags=2, options=b"", flip=0):
        head = struct.pack("!HHIIBBHHH", from_port, port, 1, 0, offset << 4, flags, 1024, 0, 0) + options
        pseudo = (self.source + self.target + struct.pack("!BBH", 0, TCP, len(head)) if family == 4 else
                  self.source6 + self.target6 + struct.pack("!IHBB", len(head), 0, 0, TCP))
        return head[:16] + struct.pack("!H", total(pseudo + head) ^ flip) + head[18:]

    def kinds(self):
        """[(counter, frame), ...]"""
        good = self.tcp()
        broadcast = b"\xff" * 4
        return [
            ("inet_drop_ether_type", self.frame(UNKNOWN, b"nothing")),
            ("inet_drop_frame_group", self.frame(IPV4, self.ipv4(good), group=True)),
            ("inet_drop_arp_malformed", self.frame(ARP, struct.pack("!HHBBH", 7, IPV4, 6, 4, 1))),
            ("inet_drop_ipv4_version", self.frame(IPV4, self.ipv4(good, first=0x65))),
            ("inet_drop_ipv4_header_length", self.frame(IPV4, self.ipv4(good, first=0x43))),
            ("inet_drop_ipv4_total_length", self.frame(IPV4, self.ipv4(good, length=12))),
            ("inet_drop_ipv4_total_length", self.frame(IPV4, self.ipv4(good, length=900))),
            ("inet_drop_ipv4_checksum", self.frame(IPV4, self.ipv4(good, flip=0x1111))),
            ("inet_drop_ipv4_fragment", self.frame(IPV4, self.ipv4(good, fragment=0x2000))),
            ("inet_drop_ipv4_source", self.frame(IPV4, self.ipv4(good, source=broadcast))),
            ("inet_drop_ipv6_version", self.frame(IPV6, self.ipv6(good, first=0x40))),
            ("inet_drop_ipv6_payload_length", self.frame(IPV6, self.ipv6(good, length=900))),
            ("inet_drop_ipv6_fragment", self.frame(IPV6, self.ipv6(struct.pack("!BBHI", TCP, 0, 0, 7) + good, kind=FRAGMENT))),
            ("inet_drop_ipv6_routing", self.frame(IPV6, self.ipv6(struct.pack("!BBBBI", TCP, 0, 0, 1, 0) + good, kind=ROUTING))),
            ("inet_drop_ipv6_no_next_header", self.frame(IPV6, self.ipv6(b"\0" * 8, kind=NO_NEXT))),
            ("inet_drop_ipv6_source", self.frame(IPV6, self.ipv6(good, source=b"\xff\x02" + b"\0" * 13 + b"\1"))),
            ("inet_drop_tcp_short", self.frame(IPV4, self.ipv4(good[:12]))),
            ("inet_drop_tcp_checksum", self.frame(IPV4, self.ipv4(self.tcp(flip=0x0101)))),
            ("inet_drop_tcp_checksum", self.frame(IPV6, self.ipv6(self.tcp(6, flip=0x0101)))),
            ("tcp_drop_malformed", self.frame(IPV4, self.ipv4(self.tcp(offset=4)))),
            ("tcp_drop_options", self.frame(IPV4, self.ipv4(self.tcp(offset=6, options=b"\2\0\0\0")))),
            ("tcp_drop_flags", self.frame(IPV4, self.ipv4(self.tcp(flags=3)))),
            ("tcp_drop_port_zero", self.frame(IPV6, self.ipv6(self.tcp(6, from_port=0)))),
        ]


def main():
    wanted = json.loads(sys.argv[1])
    interface, count, only = wanted.pop("interface"), wanted.pop("count"), wanted.pop("only")
    kinds = [(counter, frame) for counter, frame in Maker(**wanted).kinds() if not only or counter in only]
    sent = {}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((interface, 0))
        for _ in range(count):
            for counter, frame in kinds:
                out.send(frame)
                sent[counter] = sent.get(counter, 0) + 1
    print(json.dumps(sent))


if __name__ == "__main__":
    main()
