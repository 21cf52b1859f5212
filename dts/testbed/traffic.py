"""Traffic generators in a machine: the kernel's pktgen, sluice-flood (SYNs), frames made by hand."""
import json
import re

from testbed.server import BUILD

FLOOD_SPACE = "flood"

# Frames with an IPv4 header that is wrong in one way each, out of a packet socket: WAYS of testbed/traffic.py.
MALFORMED = """
import socket, struct, sys
interface, target_mac, source_mac, source, target, count = sys.argv[1:]
def total(data):
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16: value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff
link = bytes.fromhex(target_mac.replace(":", "")) + bytes.fromhex(source_mac.replace(":", "")) + b"\\x08\\0"
def header(first=0x45, length=40, fragment=0, flip=0):
    ip = struct.pack("!BBHHHBBH4s4s", first, 0, length, 1, fragment, 64, 6, 0, socket.inet_aton(source), socket.inet_aton(target))
    return ip[:10] + struct.pack("!H", total(ip) ^ flip) + ip[12:]
frames = [link + each + b"\\0" * 26 for each in (
    header(first=0x65), header(first=0x43), header(length=12), header(length=900), header(flip=0x1111), header(fragment=0x2000))]
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); out.bind((interface, 0))
for n in range(int(count)):
    for frame in frames: out.send(frame)
"""
# The counter that each of those frames is to be found in.
WAYS = ("inet_drop_ipv4_version", "inet_drop_ipv4_header_length", "inet_drop_ipv4_total_length", "inet_drop_ipv4_checksum",
        "inet_drop_ipv4_fragment")


class Pktgen:
    """The kernel's packet generator on one interface of a machine. It sends UDP, from random sources if told so."""

    def __init__(self, machine, interface, target_mac):
        self._machine, self._interface, self._mac = machine, interface, target_mac
        machine.run("modprobe", "pktgen", timeout=60)

    def send(self, target, count, *, bytes=60, sources=None, mac=None, more=(), seconds=240):
        """Sends `count` frames as fast as the machine can. Returns (frames sent, frames a second)."""
        device = f"/proc/net/pktgen/{self._interface}"
        settings = [f"count {count}", f"pkt_size {bytes}", "delay 0", "clone_skb 0", f"dst {target}", f"dst_mac {mac or self._mac}", "udp_dst_min 9",
                    "udp_dst_max 9", "src_min 0.0.0.0", "src_max 0.0.0.0", *more]
        if sources:
            settings += [f"src_min {sources[0]}", f"src_max {sources[1]}", "flag IPSRC_RND"]
        script = "\n".join(["echo rem_device_all > /proc/net/pktgen/kpktgend_0", f"echo add_device {self._interface} > /proc/net/pktgen/kpktgend_0",
                            *(f"echo '{line}' > {device}" for line in settings), "echo start > /proc/net/pktgen/pgctrl", f"cat {device}"])
        said = self._machine.shell(script, timeout=seconds)
        sent = re.search(r"pkts-sofar: (\d+)", said)
        rate = re.search(r"(\d+)pps", said)
        return int(sent[1]), int(rate[1]) if rate else 0


def prepare_flood(machine, interface):
    """A namespace with an interface of its own on `interface`, for sluice-flood. Its end: remove_flood."""
    machine.shell(f"ip netns add {FLOOD_SPACE}; ip link add link {interface} name fl0 netns {FLOOD_SPACE} type macvlan mode bridge; "
                  f"ip -n {FLOOD_SPACE} link set fl0 up")


def remove_flood(machine):
    machine.shell(f"ip netns delete {FLOOD_SPACE}")


def flood(machine, target_mac, server, rate, count):
    """SYNs from random addresses of 198.18.0.0/15. Returns how many were sent."""
    done = machine.run("ip", "netns", "exec", FLOOD_SPACE, BUILD / "perf" / "client" / "sluice-flood", "--space", FLOOD_SPACE, "--interface", "fl0",
                       "--mac", target_mac, "--server", f"{server}:80", "--rate", rate, "--count", count, "--seconds", 60, timeout=150)
    return json.loads(done.out)["sent"]
