"""Several sluiceds that replicate to each other, each in a namespace of its own.

    [node 0: curl -> sl0 (tap) sluiced  rep0] --+
    [node 1: curl -> sl0 (tap) sluiced  rep0] --+-- bridge in [hub: br0]   (etcd runs there)
    [node 2: ...                            ] --+

Clients of a node run beside it, in its namespace; what the nodes say to each other crosses the bridge over the kernel's TCP.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import replace

from rig.content import STATE
from rig.namespace import Namespace
from rig.site import BUILDS, Setup, Site

PORT = 7010
HUB = "10.8.0.254"
ETCD_PORT = 2379


def address(number):
    return f"10.8.0.{number + 1}"


class Node(Site):
    """One of the cluster. `root` is its own directory."""

    def __init__(self, cluster, number, setup, arguments):
        self.cluster = cluster
        self.number = number
        self.name = f"n{number}"
        super().__init__(replace(setup, arguments=(*setup.arguments, *arguments)), cluster.roots[number])

    def _make_links(self):
        if self.client:  # a second life: the same network
            return
        self.client = Namespace(self.name)
        self.client.ip("link", "add", "rep0", "type", "veth", "peer", "name", f"n{self.number}", "netns",
                       self.cluster.hub.name)
        self.cluster.hub.ip("link", "set", f"n{self.number}", "master", "br0", "up")
        self.client.ip("address", "add", f"{address(self.number)}/24", "dev", "rep0")
        self.client.ip("link", "set", "rep0", "up")

    def restart(self):
        """Starts it again after stop() or kill()."""
        assert self.process.poll() is not None
        self._start()
        self._wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def stopped(self):
        """All its threads stand still."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def cut_off(self):
        """No frame crosses its link to the others."""
        self.cluster.hub.ip("link", "set", f"n{self.number}", "nomaster")
        try:
            yield
        finally:
            self.cluster.hub.ip("link", "set", f"n{self.number}", "master", "br0")

    # ------------------------------------------------------------------ replication
    def control(self, *words, timeout=150):
        """sluicectl: (exit status, stdout, stderr)."""
        done = subprocess.run([BUILDS[self.setup.build] / "app" / "sluicectl", "--instance", self.instance,
                               *(str(word) for word in words)], capture_output=True, text=True, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def publish(self, path, copies=2, wait=60, expect=0):
        code, out, err = self.control("publish", path, "--copies", copies, "--wait", wait)
        assert code == expect, f"publish {path} on {self.name}: {code}\n{out}{err}{self.logged()[-2000:]}"
        return out

    def listed(self, what):
        code, out, err = self.control(what, "--json")
        assert code == 0, f"sluicectl {what} on {self.name}: {err}"
        return json.loads(out)

    def replica(self, path):
        """The row of the path's current generation; None."""
        rows = [row for row in self.listed("replicas") if row["path"] == path and row["current"]]
        return rows[0] if rows else None

    def count(self, name):
        return self.stats()["total"][name]

    def fetch(self, path, *words, timeout=60):
        """(status, SHA-256, ETag, bytes) of a download with curl."""
        url = self.url(path)
        done = self.client.run("sh", "-c", 'curl -g -sS --max-time "$0" -D /dev/stderr "$@" | sha256sum', timeout, *words, url,
                               timeout=timeout + 10)
        lines = done.stderr.decode(errors="replace").replace("\r", "").split("\n")
        status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0
        fields = {name.lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines[1:]) if colon}
        return status, done.stdout.split()[0].decode(), fields.get("etag"), int(fields.get("content-length", -1))


class Cluster:
    """`count` nodes that know each other by --peer, or through an etcd in the hub."""

    def __init__(self, count, setup=Setup(), etcd=False, arguments=(), keys=None, start=True):
        self.count = count
        self.hub = Namespace("hub")
        self.nodes = []
        self.etcd = None
        STATE.mkdir(parents=True, exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cluster-", dir=STATE))
        self.roots = []
        try:
            self.hub.ip("link", "add", "br0", "type", "bridge")
            self.hub.ip("address", "add", f"{HUB}/24", "dev", "br0")
            self.hub.ip("link", "set", "br0", "up")
            if etcd:
                self.etcd = Etcd(self.hub, self.folder / "etcd")
            for number in range(count):
                root = self.folder / f"root{number}"
                root.mkdir(mode=0o755)
                self.roots.append(root)
            self.setup = setup
            self.arguments = arguments
            self.keys = keys or ["the cluster's key: 0123456789abcdef"] * count
            if start:
                for number in range(count):
                    self.start(number)
        except BaseException:
            self.close()
            raise

    def start(self, number, arguments=()):
        key = self.folder / f"key{number}"
        key.write_text(self.keys[number] + "\n")
        key.chmod(0o600)
        words = ["--node-name", f"n{number}", "--replica-listen", f"{address(number)}:{PORT}", "--cluster-key", key,
                 "--rdma", "off"]
        if self.etcd:
            words += ["--etcd", self.etcd.url]
        else:
            for other in range(self.count):
                if other != number:
                    words += ["--peer", f"{address(other)}:{PORT}"]
        node = Node(self, number, self.setup, [*words, *self.arguments, *arguments])
        self.nodes.append(node)
        return node

    def __getitem__(self, number):
        return next(node for node in self.nodes if node.number == number)

    def wait_for_links(self, seconds=30):
        """Every node has a link to every other."""
        deadline = time.monotonic() + seconds
        for node in self.nodes:
            while sum(1 for peer in node.listed("peers") if peer["tcp"] or peer["rdma"]) < len(self.nodes) - 1:
                assert time.monotonic() < deadline, f"{node.name} has no link to: {node.listed('peers')}\n{node.logged()[-2000:]}"
                time.sleep(0.1)

    def write(self, number, name, data):
        path = self.roots[number] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(data)
        fresh.rename(path)
        return path

    def close(self):
        """Returns (node, exit code) of those that ended here."""
        codes = []
        for node in self.nodes:
            running = node.process and node.process.poll() is None
            if running:
                with contextlib.suppress(ProcessLookupError):
                    node.process.send_signal(signal.SIGCONT)
            code = node.close()
            if running:
                codes.append((node, code))
        if self.etcd:
            self.etcd.close()
        self.hub.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return codes


class Etcd:
    """A real etcd in a namespace."""

    PROGRAM = shutil.which("etcd")

    def __init__(self, namespace, folder):
        self.namespace = namespace
        self.folder = folder
        self.url = f"http://{HUB}:{ETCD_PORT}"
        self.log = tempfile.NamedTemporaryFile(prefix="sluice-test-etcd-", suffix=".log")
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.namespace.command(self.PROGRAM, "--data-dir", self.folder, "--listen-client-urls", self.url,
                                   "--advertise-client-urls", self.url, "--listen-peer-urls", f"http://{HUB}:2380",
                                   "--initial-advertise-peer-urls", f"http://{HUB}:2380", "--initial-cluster",
                                   f"default=http://{HUB}:2380"),
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "ETCD_UNSUPPORTED_ARCH": os.uname().machine})
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, pathlib.Path(self.log.name).read_text(errors="replace")[-2000:]
            with contextlib.suppress(OSError):
                with self.namespace.socket(socket.AF_INET) as probe:
                    probe.settimeout(1)
                    probe.connect((HUB, ETCD_PORT))
                    return
            assert time.monotonic() < deadline, "etcd does not answer"
            time.sleep(0.1)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
