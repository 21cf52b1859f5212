"""A cluster: a sluiced in each machine of a topology, and clients beside it.

    [alpha: curl -> sl0 (tap) sluiced  rxe0 on its NIC] --- fabric --- [beta: the same] ...

What the nodes say to each other crosses the link `fabric`, over soft-RoCE or the kernel's TCP. What a node writes to its disk is
in its machine's memory, and on no other node.
"""
import json
import time
from dataclasses import dataclass

from testbed.checks import eventually
from testbed.server import Sluiced

# The kernel tells those who use a device that it goes, the last loaded first: rdma_cm before ib_uverbs.
MODULES = ("ib_core", "ib_uverbs", "ib_cm", "iw_cm", "rdma_cm", "rdma_ucm", "udp_tunnel", "ip6_udp_tunnel", "rdma_rxe")
LINK = "fabric"
PORT = 7010
ROCE_PORT = 4791  # UDP
FOLDER = "/run/node"
ROOT = f"{FOLDER}/root"
KEY = f"{FOLDER}/key"
SERVED_AT, CLIENT_AT = "10.79.0.2", "10.79.0.1/24"
PATIENCE = 240  # under emulation, on cores that others use as well
SMALL = ("--polling", "adaptive", "--max-connections", "100", "--max-objects", "8192")
ROWS = ("replica_landed_rdma_bytes", "replica_landed_tcp_bytes", "replica_written_rdma_bytes", "replica_written_tcp_bytes")


@dataclass(frozen=True)
class ClientsPort:
    """Where a node's clients reach it: a tap device, whose other side is its machine's kernel."""

    link: str = "clients"
    spec: str = "tap:sl0"
    mtu: int = 1500

    def prefix(self, family=4):
        return f"{SERVED_AT}/24" if family == 4 else "fd79::2/64"


class Node:
    """One sluiced of a cluster, in a machine of its own, whose name it has."""

    def __init__(self, machine, own, others, logs):
        """own, others: addresses on the fabric; logs: a folder that keeps what it said."""
        self.machine, self.name = machine, machine.name
        self._own, self._others, self._logs = own, others, logs
        self.sluiced = None

    # ------------------------------------------------------------------ life
    def start(self, *arguments, key="the key of the testbed's cluster", hold="75%", cache="256M"):
        machine = self.machine
        machine.shell(f"mkdir -p {ROOT}; modprobe tun", timeout=60)
        machine.write(KEY, key + "\n", mode=0o600)
        words = ["--node-name", self.name, "--replica-listen", f"{self._own}:{PORT}", "--cluster-key", KEY, "--hold", hold, *SMALL, *arguments]
        for other in self._others:
            words += ["--peer", f"{other}:{PORT}"]
        port = ClientsPort()
        self.sluiced = Sluiced(machine, [(port, port.spec)], ROOT, cache=cache, huge=False, instance=f"node-{self.name}", arguments=words)
        try:
            self.sluiced.__enter__()
        except AssertionError:
            self.keep_log()
            raise
        machine.shell(f"ip address add {CLIENT_AT} dev sl0; ip link set sl0 up")

    def is_running(self):
        return self.sluiced is not None and self.machine.is_running() and self.sluiced.is_running()

    def stop(self):
        """Returns its exit status."""
        status = self.sluiced.stop()
        self.keep_log()
        return status

    def kill(self):
        """It tells nobody."""
        self.sluiced.kill()
        self.keep_log()

    def keep_log(self):
        if self.sluiced and self.machine.is_running():
            self._logs.mkdir(parents=True, exist_ok=True)
            with open(self._logs / f"node-{self.name}.log", "a") as log:
                log.write(self.sluiced.logged() + "----\n")

    # ------------------------------------------------------------------ its disk
    def make(self, path, mib):
        """A new file of random bytes below its root. Returns the file's SHA-256."""
        return self.machine.shell(f"head -c {mib << 20} /dev/urandom >{FOLDER}/new; mv {FOLDER}/new {ROOT}/{path}; "
                                  f"sha256sum <{ROOT}/{path} | cut -d' ' -f1", timeout=PATIENCE).strip()

    def has_on_disk(self, path):
        return self.machine.run("test", "-e", f"{ROOT}/{path}", check=False).rc == 0

    # ------------------------------------------------------------------ sluicectl
    def publish(self, path, copies, wait=PATIENCE):
        """Returns (exit status, what was said)."""
        done = self.sluiced.control("publish", path, "--copies", copies, "--wait", wait, timeout=wait + 60)
        return done.rc, done.out + done.err

    def unpublish(self, path):
        return self.sluiced.control("unpublish", path, timeout=120).rc

    def listed(self, what):
        """What sluicectl lists; asked again where the node did not answer in time (an emulated machine on busy cores)."""
        deadline = time.monotonic() + 60
        while True:
            done = self.sluiced.control(what, "--json")
            if done.rc == 0:
                return json.loads(done.out)
            assert time.monotonic() < deadline, f"sluicectl {what}: {done.out}{done.err}"
            time.sleep(1)

    def replica(self, path):
        """The row of the path's current generation; an empty one where there is none."""
        return next((row for row in self.listed("replicas") if row["path"] == path and row["current"]), {})

    def peer(self, other):
        """The row of another node; where it was not met yet, one without links."""
        return next((row for row in self.listed("peers") if row["name"] == other.name), {"rdma": 0, "tcp": 0})

    def stats(self):
        return self.sluiced.stats()

    # ------------------------------------------------------------------ a client beside it
    def fetch(self, path):
        """(status, SHA-256, ETag) of a download with curl, in its machine."""
        script = (f"curl -g -sS --max-time {PATIENCE} -D {FOLDER}/head http://{SERVED_AT}/{path} | sha256sum | cut -d' ' -f1; "
                  f"tr -d '\\r' <{FOLDER}/head")
        digest, head, *fields = self.machine.shell(script, timeout=PATIENCE + 30).splitlines()
        tags = [value.strip() for name, _, value in (field.partition(":") for field in fields) if name.lower() == "etag"]
        return int(head.split()[1]), digest, tags[0] if tags else None


class Cluster:
    """The nodes of a bench. They run from start() on; close() ends them."""

    def __init__(self, bench):
        self.bench = bench
        addresses = {name: bench.nic(LINK, name).ip() for name in bench.machines}
        self.nodes = [Node(machine, addresses[name], [each for other, each in addresses.items() if other != name], bench.logs)
                      for name, machine in bench.machines.items()]
        self.arguments, self.options = (), {}

    def __getitem__(self, name):
        return next(node for node in self.nodes if node.name == name)

    def interface(self, name):
        return self.bench.interfaces[name][LINK][0]

    # ------------------------------------------------------------------ RDMA devices
    def load_rdma(self, name):
        for module in MODULES:
            self.bench[name].run("modprobe", module, timeout=60)
        self.add_device(name)

    def has_device(self, name):
        return "rxe0" in self.bench[name].run("rdma", "link").out

    def add_device(self, name):
        self.bench[name].run("rdma", "link", "add", "rxe0", "type", "rxe", "netdev", self.interface(name))

    def delete_device(self, name, seconds=30):
        """Returns after how many seconds the kernel had removed it; None: it still waits for somebody to let go of it."""
        started = time.monotonic()
        deleting = self.bench[name].start_job("rdma", "link", "delete", "rxe0")
        return time.monotonic() - started if deleting.wait(seconds) == 0 and not self.has_device(name) else None

    def watch_arrivals(self, name):
        """Before lose_roce(), which is quick then."""
        self.bench[name].shell("for each in sch_ingress cls_u32 act_gact; do modprobe $each; done; "
                               f"tc qdisc add dev {self.interface(name)} ingress", timeout=120)

    def lose_roce(self, name):
        """From now on no frame of RoCE arrives at this machine; all others do."""
        self.bench[name].shell(f"tc filter add dev {self.interface(name)} parent ffff: protocol ip u32 match ip protocol 17 0xff "
                               f"match ip dport {ROCE_PORT} 0xffff action drop", timeout=60)

    def frames_lost(self, name):
        said = self.bench[name].shell(f"tc -s filter show dev {self.interface(name)} parent ffff:")
        return int(said.partition("dropped ")[2].split(",")[0] or 0)

    def find_roce(self, name):
        self.bench[name].shell(f"tc qdisc del dev {self.interface(name)} ingress")

    # ------------------------------------------------------------------ all nodes
    def start(self, *arguments, **options):
        """All of them run, with these arguments and options: those that already do so go on."""
        if (arguments, options) != (self.arguments, self.options):
            self.stop()
        self.arguments, self.options = arguments, options
        for node in self.nodes:
            if node.is_running():
                continue
            if not self.has_device(node.name):  # after a case that failed
                self.add_device(node.name)
            self.start_node(node)

    def start_node(self, node, **other):
        """As the others were started, but for what is said here."""
        node.start(*self.arguments, **{**self.options, **other})

    def stop(self):
        """Returns the exit status of each that ran."""
        return {node.name: node.stop() for node in self.nodes if node.is_running()}

    close = stop

    def pairs(self):
        return [(node, other) for node in self.nodes for other in self.nodes if node is not other]

    def links_are(self, **wanted):
        """Whether every node says of every other what is wanted, as in rdma=1."""
        return all(node.peer(other)[key] == value for node, other in self.pairs() for key, value in wanted.items())

    def wait_links(self, seconds=PATIENCE, **wanted):
        """Returns after how many seconds it was so; None: it was not."""
        started = time.monotonic()
        return time.monotonic() - started if eventually(lambda: self.links_are(**wanted), seconds) else None

    def peers(self):
        return {node.name: node.listed("peers") for node in self.nodes}

    # ------------------------------------------------------------------ what every case checks
    def verify_links(self, case, text, **wanted):
        took = self.wait_links(**wanted)
        case.verify(text, took is not None, self.peers() if took is None else "")
        return took

    def verify_served(self, case, path, digest):
        """Every node serves these bytes, under the one tag that `sluicectl replicas` names."""
        tag = f'"{self.nodes[0].replica(path)["etag"]}"'
        for node in self.nodes:
            got = node.fetch(path)
            case.verify(f"{node.name} serves {path}: the source's SHA-256, ETag {tag}", got == (200, digest, tag), (got, digest))

    def verify_nothing_copied(self, case):
        """Every byte that was written was read where it lies, and every byte that landed was put to its place: by the addresses that the
        device, or the kernel, was given."""
        for node in self.nodes:
            stats = node.stats()
            bad = {name: stats[name] for name in ("replica_copied_bytes", "replica_checksum_failures") if stats[name] != 0}
            case.verify(f"{node.name}: replica_copied_bytes and replica_checksum_failures are 0", not bad, bad)
            landed, written = (sum(stats[name] for name in ROWS if kind in name) for kind in ("landed", "written"))
            placed, taken = stats["replica_placed_bytes"], stats["replica_taken_bytes"]
            case.verify(f"{node.name}: {placed} bytes were put to their place, of the {landed} that landed; {taken} taken from it, of the "
                        f"{written} that were written", placed >= landed and taken >= written, (placed, landed, taken, written))


class Moved:
    """What has moved on a node since this was made."""

    def __init__(self, node):
        self._node, self._before = node, node.stats()
        self._started = time.monotonic()

    def seconds(self):
        return time.monotonic() - self._started

    def read(self, *names):
        now = self._node.stats()
        return {name: now[name] - self._before[name] for name in names}

    def landed(self):
        """Bytes over (RDMA, TCP)."""
        return tuple(self.read(*ROWS[:2]).values())

    def written(self):
        return tuple(self.read(*ROWS[2:]).values())


def wait_for_quarter(node, moved, size):
    """Waits until a quarter has come, over whatever. Returns the bytes that have."""
    assert eventually(lambda: sum(moved.landed()) > size // 4, PATIENCE), f"no quarter came: {moved.landed()} {node.listed('transfers')}"
    return sum(moved.landed())
