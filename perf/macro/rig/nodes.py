"""sluiceds that replicate, each in a namespace of its own, joined by a bridge; what leaves a node and what comes to it is shaped (tbf).

    [node: sluiced: tap sl0 | br0 (kernel) ]--up0 --- n0--[hub: bridge]--- clients, etcd, iperf3
    `shared`: the tap is on the node's bridge too, so that clients and replication leave over the same link.

Content and frames between nodes go over the kernel's TCP on br0 (`--rdma off`).
"""
import json
import os
import signal
import subprocess
import time

from rig.spaces import Space, run

PORT = 7010
BURST_BYTES = 64 << 10  # of the shaper: one GSO train, so that the kernel need not cut it


def peer_address(number):
    return f"10.78.0.{number + 1}"


class Hub:
    """The bridge in the middle."""

    def __init__(self):
        self.space = Space("hub")
        self.space.ip("link", "add", "br0", "type", "bridge")
        self.space.ip("addr", "add", "10.78.0.254/24", "dev", "br0")
        self.space.ip("link", "set", "br0", "up")

    def close(self):
        self.space.close()


class Link:
    """A namespace on the hub's bridge, as a host on a switch. rate_mbit None: as fast as it goes."""

    def __init__(self, hub, number, purpose, rate_mbit=None):
        self.space = Space(purpose)
        self.number, self.port = number, f"n{number}"
        self.hub = hub
        self.space.ip("link", "add", "up0", "type", "veth", "peer", "name", self.port, "netns", hub.space.name)
        hub.space.ip("link", "set", self.port, "master", "br0", "up")
        self.space.ip("link", "add", "br0", "type", "bridge")
        self.space.ip("link", "set", "up0", "master", "br0", "up")
        self.space.ip("addr", "add", f"{peer_address(number)}/24", "dev", "br0")
        self.space.ip("link", "set", "br0", "up")
        if rate_mbit:
            self.shape(rate_mbit)

    def shape(self, rate_mbit):
        """Both directions, with a queue of 20 ms: about that of a switch's port."""
        words = ("root", "tbf", "rate", f"{rate_mbit}mbit", "burst", BURST_BYTES, "latency", "20ms")
        run("ip", "netns", "exec", self.space.name, "tc", "qdisc", "replace", "dev", "up0", *words)
        run("ip", "netns", "exec", self.hub.space.name, "tc", "qdisc", "replace", "dev", self.port, *words)

    def sent_bytes(self):
        return self.space.counter("up0", "tx_bytes")

    def close(self):
        self.space.close()


class ReplicaNode(Link):
    """A link with a sluiced behind it."""

    def __init__(self, hub, number, scratch, build, peers, *, rate_mbit=None, cache="512M", shared=False, arguments=(), cores="0"):
        super().__init__(hub, number, f"node{number}", rate_mbit)
        self.build, self.shared = build, shared
        self.name = f"n{number}"
        self.instance = f"{self.space.name}"
        self.tree = scratch / f"root{number}"
        self.tree.mkdir(exist_ok=True)
        self.key = scratch / "cluster.key"
        if not self.key.exists():
            self.key.write_text("a key for measuring, 0123456789abcdef\n", encoding="ascii")
            self.key.chmod(0o600)
        self.log = open(scratch / f"node{number}.log", "a", encoding="utf-8")
        self.words = [build / "app/sluiced", "serve", "--root", self.tree, "--port", "tap:sl0", "--ip", f"10.79.{number}.1/16",
                      "--cores", cores, "--cache", cache, "--instance", self.instance, "--no-huge",
                      "--node-name", self.name, "--replica-listen", f"{peer_address(number)}:{PORT}", "--cluster-key", self.key,
                      "--rdma", "off"]
        for other in peers:
            if other != number:
                self.words += ["--peer", f"{peer_address(other)}:{PORT}"]
        self.process = None
        self.start(arguments)

    def start(self, arguments=()):
        self.process = self.space.popen(*self.words, *arguments, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def wait(self, peers, seconds=60):
        """Until it has a link to so many peers."""
        end = time.monotonic() + seconds
        joined = not self.shared
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: see {self.log.name}: {open(self.log.name, encoding='utf-8').read()[-1500:]}")
            if not joined and self.space.run("ip", "link", "show", "sl0", check=False):
                self.space.ip("link", "set", "sl0", "master", "br0", "up")
                joined = True
            code, out, _ = self.control("peers", "--json")
            if joined and code == 0 and sum(1 for peer in json.loads(out) if peer["tcp"]) >= peers:
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} has no links to its peers")

    def control(self, *words, timeout=400):
        done = subprocess.run([self.build / "app/sluicectl", "--instance", self.instance, *map(str, words)], capture_output=True,
                              text=True, timeout=timeout, check=False)
        return done.returncode, done.stdout, done.stderr

    def publish(self, path, copies, wait_s=300):
        """Returns the seconds until all copies were verified and published."""
        begin = time.monotonic()
        code, out, err = self.control("publish", path, "--copies", copies, "--wait", wait_s)
        took = time.monotonic() - begin
        if code != 0:
            raise RuntimeError(f"publish {path} --copies {copies}: exit {code}: {out}{err}")
        return took

    def count(self, name):
        code, out, err = self.control("stats", "--json")
        if code != 0:
            raise RuntimeError(err)
        return json.loads(out)["total"][name]

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self):
        self.stop()
        self.log.close()
        super().close()


def write_random(path, mib):
    block = os.urandom(1 << 20)
    with open(path, "wb") as out:
        for number in range(mib):
            out.write(number.to_bytes(8, "little") + block[8:])
    return path
