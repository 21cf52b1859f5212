#!/usr/bin/env python3
"""Writes the seeds of the fuzz target `wire` to tests/fuzz/corpus/wire (see wire.cc for the format).

Each seed is named by what it shows. Checksums are left zero where the target mends them.
"""
import pathlib
import struct

OURS, PEER, GROUP = bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), b"\xff" * 6
ALL_NODES = bytes.fromhex("333300000001")
V4, V4_PEER, V4_FAR = bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), bytes([203, 0, 113, 5])
V6 = bytes.fromhex("20010db8000000000000000000000001")
V6_PEER = bytes.fromhex("20010db8000000000000000000000002")
V6_ROUTER = bytes.fromhex("fe800000000000000000000000000003")
V6_NODES = bytes.fromhex("ff020000000000000000000000000001")
V6_SOLICITED = bytes.fromhex("ff0200000000000000000001ff000001")


def ethernet(payload, kind, to=OURS, vlan=None):
    tag = b"" if vlan is None else struct.pack(">HH", 0x8100, vlan)
    return to + PEER + tag + struct.pack(">H", kind) + payload


def ipv4(payload, protocol=6, source=V4_PEER, to=V4, fragment=0x4000, options=b""):
    words = (20 + len(options)) // 4
    return struct.pack(">BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + len(payload), 0, fragment, 64,
                       protocol, 0, source, to) + options + payload


def ipv6(payload, following=6, source=V6_PEER, to=V6, hops=64):
    return struct.pack(">IHBB16s16s", 0x60000000, len(payload), following, hops, source,
                       to) + payload


def tcp(source=50000, to=80, flags=0x10, options=b"", payload=b""):
    words = (20 + len(options)) // 4
    return struct.pack(">HHIIBBHHH", source, to, 0xFFFFFFF0, 1, words << 4, flags, 65535, 0,
                       0) + options + payload


def icmp(kind, code=0, rest=0, data=b""):
    return struct.pack(">BBHI", kind, code, 0, rest) + data


def arp(operation, sender=V4_PEER, target=V4, mac=PEER):
    return struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, mac, sender, b"\0" * 6, target)


def v4(packet, **link):
    return ethernet(packet, 0x0800, **link)


def v6(packet, **link):
    return ethernet(packet, 0x86DD, **link)


def frame(data, mended=True):
    return bytes([1 if mended else 0]) + struct.pack("<H", len(data)) + data


def wait(quarters):
    return bytes([2, quarters])


def resolve(choice):
    return bytes([3, choice])


POLL, CONFIRM = b"\4", b"\5"
SYN_OPTIONS = bytes.fromhex("020405b40402080a0000000100000000 01030307".replace(" ", ""))
SACK_OPTIONS = bytes.fromhex("0101080a00000001000000020101050a0000000100000005")
SOURCE_MAC, TARGET_MAC = b"\1\1" + PEER, b"\2\1" + PEER
PADN = bytes.fromhex("0104 00000000".replace(" ", ""))

seeds = {
    "tcp_syn_v4": [frame(v4(ipv4(tcp(flags=2, options=SYN_OPTIONS))))],
    "tcp_sack_v4": [frame(v4(ipv4(tcp(options=SACK_OPTIONS, payload=b"GET / HTTP/1.1\r\n"))))],
    "tcp_v6": [frame(v6(ipv6(tcp(payload=b"hi"))))],
    "tcp_bad_checksum": [frame(v4(ipv4(tcp())), mended=False)],
    "ipv4_options": [frame(v4(ipv4(tcp(), options=bytes.fromhex("94040000"))))],
    "ipv4_fragment": [frame(v4(ipv4(tcp(), fragment=0x2000)))],
    "vlan": [frame(v4(ipv4(tcp()), vlan=7))],
    "arp_request": [frame(ethernet(arp(1), 0x0806, to=GROUP)), POLL],
    "arp_resolves": [resolve(3), POLL, frame(ethernet(arp(2, sender=bytes([192, 0, 2, 3])), 0x0806)),
                     resolve(3), wait(124), resolve(3), wait(20), POLL, CONFIRM, wait(20), POLL],
    "arp_fails": [resolve(7), POLL, wait(4), POLL, wait(4), POLL, wait(4), resolve(7), wait(12)],
    "arp_conflict": [frame(ethernet(arp(1, sender=V4), 0x0806, to=GROUP)), POLL],
    "gateway": [resolve(1), POLL, frame(ethernet(arp(2, sender=bytes([192, 0, 2, 254])), 0x0806)),
                resolve(1)],
    "echo_v4": [frame(v4(ipv4(icmp(8, rest=0x10001, data=b"ping" * 300), protocol=1))), POLL],
    "echo_v6": [frame(v6(ipv6(icmp(128, rest=0x10001, data=b"ping" * 14), 58))), POLL],
    "echo_group_v6": [frame(v6(ipv6(icmp(128), 58, to=V6_NODES), to=ALL_NODES)), POLL],
    "udp_v4": [frame(v4(ipv4(b"\0" * 100, protocol=17))), POLL],
    "udp_v6": [frame(v6(ipv6(b"\0" * 100, 17))), POLL],
    "protocol_v4": [frame(v4(ipv4(b"\0" * 8, protocol=132))), POLL],
    "protocol_v6": [frame(v6(ipv6(b"\0" * 8, 132))), POLL],
    "path_mtu_v4": [frame(v4(ipv4(icmp(3, 4, 1400, ipv4(tcp(80, 50000)[:8], source=V4, to=V4_FAR)),
                                  protocol=1)))],
    "path_mtu_old_v4": [frame(v4(ipv4(icmp(3, 4, 0, ipv4(tcp(80, 50000), source=V4, to=V4_FAR)),
                                      protocol=1)))],
    "path_mtu_v6": [frame(v6(ipv6(icmp(2, 0, 1280, ipv6(tcp(80, 50000), source=V6, to=V6_PEER)),
                                  58)))],
    "unreachable_v4": [frame(v4(ipv4(icmp(3, 1, 0, ipv4(tcp(80, 50000), source=V4, to=V4_FAR)),
                                     protocol=1)))],
    "time_exceeded_v6": [frame(v6(ipv6(icmp(3, 0, 0, ipv6(tcp(80, 50000), source=V6, to=V6_PEER)),
                                       58)))],
    "extensions": [frame(v6(ipv6(b"\x3c\0" + PADN + b"\x2b\0" + PADN + b"\6\0\xff\0" + b"\0" * 4
                                 + tcp(), 0)))],
    "extension_option": [frame(v6(ipv6(b"\6\0\x9e\4" + b"\0" * 4 + tcp(), 60))), POLL],
    "extension_routing": [frame(v6(ipv6(b"\6\0\0\1" + b"\0" * 4 + tcp(), 43))), POLL],
    "extension_fragment": [frame(v6(ipv6(b"\6\0\0\0" + b"\0" * 4 + tcp(), 44)))],
    "extension_chain": [frame(v6(ipv6((b"\x3c\0" + PADN) * 9, 60)))],
    "solicitation": [frame(v6(ipv6(icmp(135, data=V6 + SOURCE_MAC), 58, to=V6_SOLICITED, hops=255),
                              to=bytes.fromhex("3333ff000001"))), POLL],
    "solicitation_dad": [frame(v6(ipv6(icmp(135, data=V6), 58, source=b"\0" * 16, to=V6_SOLICITED,
                                       hops=255), to=bytes.fromhex("3333ff000001"))), POLL],
    "advertisement": [resolve(2), POLL,
                      frame(v6(ipv6(icmp(136, rest=0x60000000, data=V6_PEER + TARGET_MAC), 58,
                                    hops=255))), resolve(2)],
    "router": [frame(v6(ipv6(icmp(134, rest=0x40000708, data=b"\0" * 8 + SOURCE_MAC
                                  + struct.pack(">BBHI", 5, 1, 0, 1400)), 58, source=V6_ROUTER,
                             to=V6_NODES, hops=255), to=ALL_NODES)), resolve(0), wait(255)],
    "mld_query": [frame(v6(ipv6(b"\x3a\0\5\2\0\0\1\0" + icmp(130, rest=0x03E80000, data=b"\0" * 20),
                                0, source=V6_ROUTER, to=V6_NODES, hops=1), to=ALL_NODES)),
                  wait(8), POLL],
    "text_prefix": [frame(b"2001:db8::1/64", mended=False), frame(b"192.0.2.1/24", mended=False)],
    "start": [POLL, wait(8), POLL, wait(16), POLL, wait(16), POLL],
}

out = pathlib.Path(__file__).parent / "corpus" / "wire"
out.mkdir(parents=True, exist_ok=True)
for options, suffix in ((0, ""), (1, "_vlan"), (12, "_jumbo_quiet")):
    for name, operations in seeds.items():
        if suffix and name not in ("start", "vlan", "echo_v4", "arp_request", "solicitation"):
            continue
        (out / (name + suffix)).write_bytes(bytes([options]) + b"".join(operations))
print(len(list(out.iterdir())), "seeds in", out)
