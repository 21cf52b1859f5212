"""A site whose client stands behind an emulated link (perf/link): a rate, a delay, a queue that marks or drops."""
import json
import socket
import struct
import subprocess
import threading
import time

from rig.client import request
from rig.namespace import Namespace, disable_ipv6
from rig.site import BUILDS, Site


class LinkedSite(Site):
    """client0 [sluice-link] sl0: sluiced. Setup.port must be af_packet."""

    link = None

    def _make_links(self):
        self.client = Namespace("client")
        self.server = Namespace("server")
        tool = BUILDS[self.setup.build] / "perf" / "link" / "sluice-link"
        self.link = subprocess.Popen([tool, "--server", f"{self.server.name}:sl0", "--client", f"{self.client.name}:client0",
                                      "--realtime"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.link.stdout.readline().strip() == "ready"
        disable_ipv6(self.server, "sl0")
        self.server.ip("link", "set", "sl0", "txqueuelen", 10000, "up")
        self._address_client("client0")

    def shape(self, rate=0, rtt_ms=0, queue=1 << 20, **down):
        """What the link is from now on; counters() begin anew. Keys as sluice-link takes them."""
        for way, keys in (("down", down), ("up", {})):
            words = {"rate": rate, "delay_us": rtt_ms * 500, "queue": queue, **keys}
            self._ask(" ".join([way, *(f"{key}={value}" for key, value in words.items())]))

    def counters(self):
        """Of the direction to the client."""
        return json.loads(self._ask("counters"))["down"]

    def _ask(self, line):
        self.link.stdin.write(line + "\n")
        self.link.stdin.flush()
        answer = self.link.stdout.readline().strip()
        assert answer and not answer.startswith("error"), f"sluice-link: {line}: {answer}"
        return answer

    def close(self):
        code = None
        if self.process and self.process.poll() is None:
            code = self.stop()
        if self.link:
            self.link.stdin.close()
            self.link.wait(timeout=10)
            self.link.stdout.close()
        super().close()
        return code


class Watch:
    """What passes the client's link, IPv4 and TCP: (seconds, from the server?, flags, ECN bits, payload bytes)."""

    SIOCGSTAMPNS = 35  # SO_TIMESTAMPNS: the kernel's time of arrival

    def __init__(self, site, link="client0"):
        self.seen = []
        self._socket = site.client.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, self.SIOCGSTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((link, 0))
        self._socket.settimeout(0.2)
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ended:
            try:
                frame, notes, _, _ = self._socket.recvmsg(256, 64)
            except TimeoutError:
                continue
            if frame[12:14] != b"\x08\x00" or frame[23] != 6:
                continue
            seconds, nanoseconds = struct.unpack("qq", notes[0][2][:16])
            length = struct.unpack("!H", frame[16:18])[0]
            tcp = 14 + (frame[14] & 15) * 4
            source = struct.unpack("!H", frame[tcp:tcp + 2])[0]
            payload = length - (frame[14] & 15) * 4 - (frame[tcp + 12] >> 4) * 4
            self.seen.append((seconds + nanoseconds * 1e-9, source == 80, frame[tcp + 13], frame[15] & 3, payload))

    def end(self):
        """Returns what was seen, in order."""
        time.sleep(0.3)
        self._ended = True
        self._thread.join()
        self._socket.close()
        return self.seen


def start_download(site, path):
    """A connection on which the response has begun, read on by a thread that ends with it."""
    connection = site.connect(timeout=60)
    connection.send(request(path))
    connection.read_head()

    def read():
        try:
            while connection.socket.recv(1 << 20):
                pass
        except OSError:
            pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    return connection
