"""Plays the scripts of tests/packet against the kernel's TCP, over a TAP in a namespace.

The grammar is that of tests/packet/README.md. The peer's segments go out as raw frames; what the kernel answers is
compared in what the RFCs fix: flags, sequence numbers, acknowledgments, SACK blocks, and which options a SYN-ACK
offers. Windows, option values and the moment of an answer are the kernel's own business.
"""
import contextlib
import ctypes
import fcntl
import os
import re
import select
import socket
import struct
import time

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128}
PSH, SYN, ACK = 8, 2, 16
MAC_KERNEL, MAC_PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000063")
IP_KERNEL, IP_PEER = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.99")
RUN_SEGMENT = 1000  # of `<<`
GRACE_SECONDS = 0.4
SO_SNDBUFFORCE = 32  # asm-generic/socket.h; the module has no name for it


class Mismatch(AssertionError):
    """The kernel did something else."""


class Packet:
    """One packet in the script's notation; None: not given, "*": anything."""

    def __init__(self, text):
        options = re.search(r"<(.*)>", text)
        self.options = parse_options(options.group(1)) if options else None
        words = re.sub(r"<.*>", "", text).split()
        self.ecn = {"[ce]": 3, "[ect0]": 2, "[noecn]": 0}.get(words[0])  # of the IP header
        if words[0].startswith("["):
            words.pop(0)
        self.flags = 0 if words[0] == "-" else sum(FLAGS[letter] for letter in words[0])
        if words[1] == "*":
            self.begin = self.length = None
        else:
            begin, _, length = re.fullmatch(r"(-?\d+):(-?\d+)\((\d+)\)", words[1]).groups()
            self.begin, self.length = int(begin), int(length)
        fields = dict(zip(words[2::2], words[3::2]))
        self.ack = None if fields.get("ack", "*") == "*" else int(fields["ack"])
        self.window = int(fields.get("win", 0))


def parse_options(text):
    options = {}
    for option in filter(None, (part.strip() for part in text.split(","))):
        words = option.split()
        if words[0] == "TS":
            options["TS"] = (words[2], words[4])
        elif words[0] == "sack":
            options["sack"] = [tuple(int(edge) for edge in block.split(":")) for block in words[1:]]
        elif words[0] != "nop":
            options[words[0]] = words[1] if len(words) > 1 else True
    return options


def parse_script(text):
    """Returns: [(line number, seconds to wait, seconds at most, what)]; `config` lines are left out."""
    steps = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("//")[0].strip()
        if not line or line.startswith("config "):
            continue
        when, what = line.split(None, 1)
        times = [float(part) for part in when.replace("+", "").split("~")]
        steps.append((number, times[0], times[-1], what))
    return steps


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Tap:
    """A TAP device inside a namespace, with the kernel's end configured."""

    def __init__(self, namespace):
        with namespace.entered():
            self.descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.descriptor, 0x400454CA, struct.pack("16sH22x", b"tap0", 0x0002 | 0x1000))
        namespace.ip("link", "set", "tap0", "address", "02:00:00:00:00:01")
        namespace.ip("address", "add", "192.0.2.1/24", "dev", "tap0")
        namespace.ip("link", "set", "tap0", "up")
        namespace.ip("neigh", "replace", "192.0.2.99", "lladdr", "02:00:00:00:00:63", "dev", "tap0", "nud", "permanent")

    def close(self):
        os.close(self.descriptor)

    def send(self, tcp, ecn=0):
        pseudo = IP_PEER + IP_KERNEL + struct.pack("!HH", 6, len(tcp))
        tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, ecn, 20 + len(tcp), 0, 0x4000, 64, 6, 0, IP_PEER, IP_KERNEL)
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        os.write(self.descriptor, MAC_KERNEL + MAC_PEER + b"\x08\x00" + ip + tcp)

    def receive(self, seconds):
        """The next TCP segment from the kernel and its ECN bits, or None."""
        end = time.monotonic() + seconds
        while True:
            left = max(0, end - time.monotonic())
            if not select.select([self.descriptor], [], [], left)[0]:
                return None
            frame = os.read(self.descriptor, 65536)
            if frame[12:14] == b"\x08\x00" and frame[23] == 6 and frame[26:30] == IP_KERNEL:
                total = struct.unpack("!H", frame[16:18])[0]
                return frame[34:14 + total], frame[15] & 3


class Player:
    def __init__(self, namespace):
        self.tap = Tap(namespace)
        self.listener = namespace.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("192.0.2.1", 80))
        self.listener.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
        self.listener.listen(16)
        self.listener.settimeout(2)
        self.connection = None
        self.port, self.local_port = 40000, 80
        self.isn, self.kernel_isn, self.ts_base = 0xfffffe00, None, None
        self.more = False
        self.ecn = 0  # of the last segment from the kernel
        self.log = []

    def close(self):
        for thing in (self.connection, self.listener, self.tap):
            if thing is not None:
                with contextlib.suppress(OSError):
                    thing.close()

    def play(self, steps, differences):
        """`differences`: {line: what the kernel does instead}: a packet, "nothing", or "stop"."""
        for at, (line, least, most, what) in enumerate(steps):
            self.more = any(later[3] == "close" for later in steps[at + 1:at + 2])
            instead = differences.get(line)
            if instead == "stop":
                return
            try:
                self.step(least, most, what, instead)
            except Mismatch as mismatch:
                history = "\n".join(self.log[-12:])
                raise Mismatch(f"line {line}: {what}\n  {mismatch}\n{history}") from None

    def step(self, least, most, what, instead):
        if what[0] == ">":
            if instead == "nothing":
                return self.expect_nothing(least + 0.05)
            text = instead or what
            return self.expect(Packet(text.lstrip(">|").strip()), text, most)
        time.sleep(least)
        words = what.split()
        if words[0] in ("ignore", "expect"):
            return self.look(words, least)
        self.expect_nothing(0.01)
        if what[0] == "<":
            self.inject(Packet(what.lstrip("<").strip()), what.startswith("<<"))
        else:
            self.act(words)

    # To the kernel ------------------------------------------------------------------------------------------------

    def inject(self, packet, run):
        if not run or packet.length == 0:
            return self.inject_one(packet, packet.begin, packet.length)
        for at in range(0, packet.length, RUN_SEGMENT):
            self.inject_one(packet, packet.begin + at, min(RUN_SEGMENT, packet.length - at))

    def inject_one(self, packet, begin, length):
        kernel_isn = self.kernel_isn or 0
        options = self.encode(packet)
        acknowledged = (kernel_isn + packet.ack) % 2**32 if packet.ack is not None else 0
        header = struct.pack("!HHIIBBHHH", self.port, self.local_port, (self.isn + begin) % 2**32, acknowledged,
                             (20 + len(options)) // 4 << 4, packet.flags, packet.window, 0,
                             1 if packet.flags & FLAGS["U"] else 0)
        self.log.append(f"  < flags {packet.flags:#x} {begin}({length}) ack {packet.ack}")
        self.tap.send(header + options + bytes(length), packet.ecn or 0)
        self.drain()

    def encode(self, packet):
        options = packet.options or {}
        out = b""
        if "mss" in options:
            out += struct.pack("!BBH", 2, 4, int(options["mss"]))
        if "sackOK" in options:
            out += b"\x04\x02"
        if "wscale" in options:
            out += struct.pack("!BBB", 3, 3, int(options["wscale"]))
        if "TS" in options:
            value, echo = (0 if word == "*" else int(word) for word in options["TS"])
            base = 0 if packet.flags & SYN else self.ts_base or 0
            out += struct.pack("!BBII", 8, 10, value % 2**32, (base + echo) % 2**32)
        if "sack" in options:
            out += struct.pack("!BB", 5, 2 + 8 * len(options["sack"]))
            for left, right in options["sack"]:
                out += struct.pack("!II", (self.kernel_isn + left) % 2**32, (self.kernel_isn + right) % 2**32)
        return out + b"\x01" * (-len(out) % 4)

    def drain(self):
        """The application reads whatever comes."""
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.setblocking(False)
                while self.connection.recv(65536):
                    pass

    # From the kernel ----------------------------------------------------------------------------------------------

    def receive(self, seconds):
        arrived = self.tap.receive(seconds)
        if arrived is None:
            return None
        tcp, self.ecn = arrived
        sequence, acknowledged = struct.unpack("!II", tcp[4:12])
        flags, header = tcp[13], (tcp[12] >> 4) * 4
        options = decode(tcp[20:header])
        if flags & SYN:
            self.kernel_isn = sequence
        if "TS" in options and self.ts_base is None:
            self.ts_base = options["TS"][0]
        begin = signed(sequence - (self.kernel_isn or 0))
        ack = signed(acknowledged - self.isn) if flags & ACK else None
        if "sack" in options:
            options["sack"] = [tuple(signed(edge - self.isn) for edge in block) for block in options["sack"]]
        self.log.append(f"  > flags {flags:#x} {begin}({len(tcp) - header}) ack {ack} {options}")
        return flags, begin, len(tcp) - header, ack, options

    def expect_nothing(self, seconds):
        got = self.receive(seconds)
        if got is not None:
            raise Mismatch(f"the kernel sent flags {got[0]:#x} {got[1]}({got[2]}) ack {got[3]}")

    def expect(self, packet, what, most):
        run, last = what.startswith(">>"), what.startswith(">|")
        done = 0
        while True:
            got = self.receive(most + GRACE_SECONDS if not last else 0.2)
            if got is None:
                raise Mismatch("the kernel sent nothing" if not run else f"the run ends after {done} bytes")
            if last:
                while (later := self.receive(0.1)) is not None:
                    got = later
            flags, begin, length, ack, options = got
            wanted = packet.flags & ~PSH
            if run and done + length < packet.length:
                wanted &= ~FLAGS["F"]
            if flags & ~PSH != wanted:
                raise Mismatch(f"flags {flags:#x}, not {wanted:#x}")
            if packet.begin is not None and (begin != packet.begin + done or (not run and length != packet.length)):
                raise Mismatch(f"sequence {begin}({length})")
            if packet.ack is not None and ack != packet.ack:
                raise Mismatch(f"ack {ack}, not {packet.ack}")
            if packet.ecn is not None and packet.ecn != self.ecn:
                raise Mismatch(f"ECN bits {self.ecn}, not {packet.ecn}")
            self.compare_options(packet, options)
            done += length
            if not run or done >= packet.length:
                return

    @staticmethod
    def compare_options(packet, options):
        if packet.options is None:
            return
        if packet.options.get("sack", []) != options.get("sack", []):
            raise Mismatch(f"SACK {options.get('sack')}, not {packet.options.get('sack')}")
        kinds = {"sackOK", "wscale", "TS"} if packet.flags & SYN else {"TS"}
        if kinds & set(packet.options) != kinds & set(options):
            raise Mismatch(f"options {sorted(options)}, not {sorted(packet.options)}")

    # The application ----------------------------------------------------------------------------------------------

    def act(self, words):
        verb = words[0]
        if verb == "accept":
            self.connection, _ = self.listener.accept()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # As a connection that has been used for a while: ACKs wait for company.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            self.drain()
        elif verb in ("send", "write"):
            self.connection.setblocking(False)
            length = int(words[1])
            # What is closed at once goes out with its FIN, as from sluice, whose turn ends later.
            more = socket.MSG_MORE if self.more or words[-1] == "close" else 0
            if self.connection.send(bytes(length), more) != length:
                raise Mismatch("the socket took less than asked")
            if words[-1] == "close":
                self.connection.shutdown(socket.SHUT_WR)
        elif verb == "close":
            self.connection.shutdown(socket.SHUT_WR)
        elif verb == "abort":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif verb == "flood":
            for _ in range(int(words[1])):
                self.inject(Packet(" ".join(words[3:])), False)
        elif verb == "peer":
            self.port, self.local_port = int(words[2]), int(words[4])
            self.isn, self.kernel_isn, self.ts_base = 0xfffffe00, None, None
        elif verb != "read":
            raise Mismatch(f"no such action here: {verb}")

    def look(self, words, waited):
        if words[0] == "ignore":
            while self.receive(0.02) is not None:
                pass
        elif words[1:] == ["no", "packet"]:
            self.expect_nothing(0.02 if waited else 0.05)
        # Counters and tables are sluice's.


def decode(data):
    options, at = {}, 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        kind, length = data[at], data[at + 1]
        body = data[at + 2:at + length]
        if kind == 2:
            options["mss"] = struct.unpack("!H", body)[0]
        elif kind == 3:
            options["wscale"] = body[0]
        elif kind == 4:
            options["sackOK"] = True
        elif kind == 5:
            options["sack"] = [struct.unpack("!II", body[i:i + 8]) for i in range(0, len(body), 8)]
        elif kind == 8:
            options["TS"] = struct.unpack("!II", body)
        at += length
    return options


def signed(number):
    return ctypes.c_int32(number & 0xffffffff).value
