"""A server that clients in a namespace can reach: sluiced on one of its ports, or nginx for reference.

    tap         [client namespace: sl0 <-> sluiced]                     one namespace
    af_packet   [client namespace: client0] <-veth-> [sl0: sluiced]     two namespaces
    af_xdp      the same
    nginx       the same, with the kernel's TCP at the server's end

The nginx site exists to check the tests themselves: what a test demands of HTTP, nginx should mostly do
too. It is chosen by SLUICE_REFERENCE=nginx and is not part of scripts/test.
"""
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

from rig.client import Connection
from rig.namespace import Namespace, disable_ipv6, quiet_kernel_side

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILDS = {
    "gcc": pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build" / "gcc")),
    "asan": pathlib.Path(os.environ.get("SLUICE_BUILD_ASAN", ROOT / "build" / "asan")),
}

CLIENT = {4: "10.9.0.1", 6: "fd09::1"}
SERVER = {4: "10.9.0.2", 6: "fd09::2"}
PREFIX = {4: 24, 6: 64}
START_SECONDS_MAX = 60
_instances = itertools.count()


@dataclass(frozen=True)
class Setup:
    """What a site is like. `arguments` go to sluiced as they are."""

    port: str = "tap"
    workers: int = 2
    build: str = "gcc"
    cache: str = "256M"
    arguments: tuple = ()
    eal: tuple = ()
    mtu: int = 1500  # of the link; both ends of a veth
    huge: bool = False

    def __str__(self):
        sanitizer = "-asan" if self.build == "asan" else ""
        return f"{self.port}-{self.workers}{sanitizer}"


class Site:
    """A running server. `client` is the namespace that clients run in."""

    def __init__(self, setup, tree):
        self.setup = setup
        self.tree = pathlib.Path(tree)
        self.client = None
        self.server = None
        self.process = None
        self.instance = f"sl-test-{os.getpid()}-{next(_instances)}"
        self.log = tempfile.NamedTemporaryFile(prefix="sluice-test-", suffix=".log")
        try:
            self._make_links()
            self._start()
            self._wait()
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------------ where and how to reach it
    def host(self, family=4):
        return SERVER[family] if family == 4 else f"[{SERVER[family]}]"

    def url(self, path="", family=4):
        return f"http://{self.host(family)}/{path}"

    def connect(self, family=4, timeout=10, receive_buffer=None, port=80):
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        connection = self.client.socket(kind)
        connection.settimeout(timeout)
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((SERVER[family], port))
        return Connection(connection)

    def exchange(self, data, family=4, timeout=10, method="GET"):
        """Sends bytes on a connection of their own and returns the first response."""
        with self.connect(family, timeout) as connection:
            connection.send(data)
            return connection.read_response(method)

    def curl(self, *words, timeout=60, check=True):
        return self.client.run("curl", "-g", "-sS", "--max-time", timeout, *words, timeout=timeout + 10, check=check)

    # ------------------------------------------------------------------ what it says of itself
    def stats(self):
        """What `sluicectl stats --json` prints, as Python values."""
        return json.loads(self.sluicectl("stats", "--json"))

    def sluicectl(self, *words):
        done = subprocess.run([BUILDS[self.setup.build] / "app" / "sluicectl", "--instance", self.instance, *words],
                              capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"sluicectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def pid(self):
        return self.process.pid

    def cpu_seconds(self):
        """CPU time of all threads so far."""
        words = pathlib.Path(f"/proc/{self.pid()}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self):
        """Resident anonymous memory outside the arena's mapping; see rig.memory."""
        status = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        return {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith("Rss")}

    def logged(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    # ------------------------------------------------------------------ life
    def _make_links(self):
        self.client = Namespace("client")
        if self.setup.port == "tap":
            return
        self.server = Namespace("server")
        self.client.ip("link", "add", "client0", "type", "veth", "peer", "name", "sl0", "netns", self.server.name)
        quiet_kernel_side(self.client, "client0")
        if self.setup.port != "nginx":
            disable_ipv6(self.server, "sl0")
        self.server.ip("link", "set", "sl0", "mtu", self.setup.mtu, "up")
        self._address_client("client0")

    def _address_client(self, link):
        self.client.ip("address", "add", f"{CLIENT[4]}/{PREFIX[4]}", "dev", link)
        self.client.ip("-6", "address", "add", f"{CLIENT[6]}/{PREFIX[6]}", "dev", link, "nodad")
        if self.setup.mtu != 1500:
            self.client.ip("link", "set", link, "mtu", self.setup.mtu)
        self.client.ip("link", "set", link, "up")

    def _start(self):
        spec = {"tap": "tap:sl0"}.get(self.setup.port, f"{self.setup.port}:sl0")
        words = [BUILDS[self.setup.build] / "app" / "sluiced", "serve", "--root", self.tree, "--port", spec]
        for family in (4, 6):
            words += ["--ip", f"{SERVER[family]}/{PREFIX[family]}"]
        words += ["--workers", self.setup.workers, "--cache", self.setup.cache, "--instance", self.instance,
                  *([] if self.setup.huge else ["--no-huge"]), *self.setup.arguments]
        if self.setup.eal:
            words += ["--", *self.setup.eal]
        self._spawn(words)

    def _spawn(self, words):
        namespace = self.server or self.client
        environment = dict(os.environ)
        if self.setup.build == "asan":
            # DPDK does not free all it has at exit; what sluice itself must not lose is proven by its gauges.
            environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        self.process = subprocess.Popen(namespace.command(*words), stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=subprocess.STDOUT, start_new_session=True, env=environment)

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        addressed = self.setup.port != "tap"
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.logged()[-3000:]}")
            if not addressed and self.client.run("ip", "link", "show", "sl0", check=False).returncode == 0:
                self._address_client("sl0")
                addressed = True
            if addressed:
                try:
                    for family in (4, 6):
                        self.connect(family, timeout=1).close()
                    return
                except OSError:
                    pass
            assert time.monotonic() < deadline, f"the server does not answer:\n{self.logged()[-3000:]}"
            time.sleep(0.05)

    def stop(self, number=signal.SIGTERM, timeout=45):
        """Asks it to end; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=timeout)

    def close(self):
        code = None
        if self.process:
            if self.process.poll() is None:
                try:
                    code = self.stop()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
                    code = "no end within 45 s of SIGTERM"
        for namespace in (self.client, self.server):
            if namespace:
                namespace.close()
        return code


class NginxSite(Site):
    """nginx with sendfile over the kernel's TCP, for comparison."""

    CONFIGURATION = """
daemon off; worker_processes {workers}; pid {folder}/pid; error_log stderr error; user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; include /etc/nginx/mime.types; keepalive_requests 100000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e; disable_symlinks on from=$document_root;
  server {{ listen 80; listen [::]:80; root {tree}; }}
}}
"""

    def _start(self):
        for family in (4, 6):
            extra = ["nodad"] if family == 6 else []
            self.server.ip(f"-{family}", "address", "add", f"{SERVER[family]}/{PREFIX[family]}", "dev", "sl0", *extra)
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-test-nginx-")
        path = pathlib.Path(self.folder.name) / "nginx.conf"
        path.write_text(self.CONFIGURATION.format(workers=self.setup.workers, folder=self.folder.name, tree=self.tree))
        self._spawn(["nginx", "-c", path, "-p", self.folder.name])

    def stats(self):
        return None


def open_site(setup, tree):
    return (NginxSite if setup.port == "nginx" else Site)(setup, tree)
