"""The servers that are compared. Each runs in a Space, on device `s`, and answers at `address`, port 80."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from rig.spaces import run

PREFIX = 24


class Server:
    """cores: where its workers run, one each."""

    def __init__(self, space, address, tree, scratch, cores, log_name):
        self.space, self.address, self.tree, self.cores = space, address, tree, cores
        self.scratch = scratch
        self.log = open(scratch / f"{log_name}.log", "a", encoding="utf-8")
        self.process = None

    def start(self, *words, **options):
        # Above what else runs on a shared machine, all servers alike.
        self.process = self.space.popen("nice", "-n", "-10", *words, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, **options)

    def wait(self, client, seconds=40):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {pathlib.Path(self.log.name).read_text()[-1500:]}")
            if client.run("curl", "-s", "-o", "/dev/null", "-m", "2", "-w", "%{http_code}",
                          f"http://{self.address}/small", check=False) == "200":
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} does not answer: {pathlib.Path(self.log.name).read_text()[-1500:]}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def own_address(self, congestion):
        """For servers on the kernel's TCP."""
        self.space.ip("addr", "add", f"{self.address}/{PREFIX}", "dev", "s")
        if congestion:
            network = self.address.rsplit(".", 1)[0] + ".0"
            self.space.ip("route", "change", f"{network}/{PREFIX}", "dev", "s", "proto", "kernel", "scope", "link",
                          "src", self.address, "congctl", congestion)


class Nginx(Server):
    name = "nginx"
    CONFIGURATION = """
daemon off; worker_processes {workers}; worker_cpu_affinity {affinity}; pid {folder}/pid; error_log {folder}/error.log;
user root; worker_rlimit_nofile 16000;
events {{ worker_connections 15000; use epoll; multi_accept on; }}
http {{
  access_log off; sendfile on; sendfile_max_chunk 2m; tcp_nopush on; tcp_nodelay on; keepalive_timeout 75s;
  keepalive_requests 100000000; open_file_cache max=1000 inactive=60s; open_file_cache_valid 60s;
  server {{ listen {address}:80 backlog=8192; root {tree}; }}
}}
"""

    def __init__(self, space, address, tree, scratch, cores=(0,), congestion=None):
        super().__init__(space, address, tree, scratch, cores, "nginx")
        folder = scratch / f"nginx-{space.name}"
        folder.mkdir()
        configuration = folder / "nginx.conf"
        configuration.write_text(self.CONFIGURATION.format(
            workers=len(cores), affinity=" ".join(f"{1 << core:b}" for core in cores), folder=folder,
            address=address, tree=tree), encoding="ascii")
        self.own_address(congestion)
        self.start(shutil.which("nginx") or "/usr/sbin/nginx", "-c", configuration, "-p", folder)


class Node(Server):
    name = "Node"
    PROGRAM = """
const cluster = require('cluster'), fs = require('fs'), http = require('http');
const small = fs.readFileSync('{tree}/small');
if (cluster.isPrimary && {workers} > 1) {{ for (let i = 0; i < {workers}; ++i) cluster.fork(); }}
else http.createServer((request, response) => {{
  response.writeHead(200, {{'Content-Length': small.length}}); response.end(small);
}}).listen({{host: '{address}', port: 80, backlog: 8192}});
"""

    def __init__(self, space, address, tree, scratch, cores=(0,), congestion=None):
        super().__init__(space, address, tree, scratch, cores, "node")
        program = scratch / f"node-{space.name}.js"
        program.write_text(self.PROGRAM.format(tree=tree, workers=len(cores), address=address), encoding="ascii")
        self.own_address(congestion)
        self.start("taskset", "-c", ",".join(map(str, cores)), shutil.which("node"), program)

    @staticmethod
    def missing():
        return None if shutil.which("node") else "no node (apt-get install nodejs)"


class Sluice(Server):
    name = "sluice"

    def __init__(self, space, address, tree, scratch, cores=(0,), congestion=None, build=None, port="af_packet",
                 arguments=()):
        super().__init__(space, address, tree, scratch, cores, "sluiced")
        self.build = build
        self.instance = space.name
        words = [build / "app/sluiced", "serve", "--root", tree, "--port", f"{port}:s", "--ip", f"{address}/{PREFIX}",
                 "--cores", ",".join(map(str, cores)), "--cache", "640M", "--instance", self.instance, "--no-huge",
                 *arguments]
        if congestion and accepts(build, "--congestion"):
            words += ["--congestion", congestion]
        self.start(*words)

    def stats(self):
        text = run(self.build / "app/sluicectl", "--instance", self.instance, "stats", "--json")
        return json.loads(text)["total"]

    def troubles(self):
        """Its counters of what went wrong, those that are not zero."""
        words = ("drop", "recycled", "full", "refused", "stall", "cookie", "syn_ack_retransmitted", "imissed")
        return {key: value for key, value in self.stats().items() if value and any(word in key for word in words)}


def accepts(build, option):
    """Whether this sluiced knows an option."""
    return option in run(build / "app/sluiced", "serve", "--help", check=False)


def congestions(build):
    """The congestion controls that this sluiced can be told to use."""
    return ("cubic", "bbr") if accepts(build, "--congestion") else ("cubic",)


def make_tree(scratch, large_mib=384):
    """small: 1 KiB; medium: 100 KiB; large: more than any measurement reads."""
    tree = scratch / "tree"
    tree.mkdir()
    (tree / "small").write_bytes(os.urandom(1024))
    (tree / "medium").write_bytes(os.urandom(100 * 1024))
    block = os.urandom(1 << 20)
    with open(tree / "large", "wb") as large:
        for _ in range(large_mib):
            large.write(block)
    return tree
