"""Traffic in a machine: the kernel's pktgen, SYN floods, malformed frames, wrk, downloads."""
import json
import re
import time

from testbed.server import BUILD, ROOT

FLOOD_SPACE = "flood"
MALFORMED = ROOT / "dts" / "testbed" / "malformed.py"
RANDOM_SOURCES = ("198.18.0.1", "198.19.255.254")  # RFC 2544: benchmarks


class Pktgen:
    """The kernel's packet generator on one interface of a machine. It sends UDP to port 9, from random sources if told so."""

    def __init__(self, machine, interface, target_mac):
        self._machine, self._interface, self._mac = machine, interface, target_mac
        machine.run("modprobe", "pktgen", timeout=60)

    def script(self, target, count, *, bytes=60, sources=RANDOM_SOURCES, mac=None, more=()):
        """The commands that send `count` frames as fast as the machine can."""
        device = f"/proc/net/pktgen/{self._interface}"
        settings = [f"count {count}", f"pkt_size {bytes}", "delay 0", "clone_skb 0", f"dst {target}", f"dst_mac {mac or self._mac}",
                    "udp_src_min 1024", "udp_src_max 65000", "flag UDPSRC_RND", "udp_dst_min 9", "udp_dst_max 9",
                    f"src_min {sources[0]}", f"src_max {sources[1]}", "flag IPSRC_RND", *more]
        return "\n".join(["echo rem_device_all > /proc/net/pktgen/kpktgend_0", f"echo add_device {self._interface} > /proc/net/pktgen/kpktgend_0",
                          *(f"echo '{line}' > {device}" for line in settings), "echo start > /proc/net/pktgen/pgctrl", f"cat {device}"])

    @staticmethod
    def outcome(said):
        """(frames sent, frames a second)"""
        sent, rate = re.search(r"pkts-sofar: (\d+)", said), re.search(r"(\d+)pps", said)
        return int(sent[1]), int(rate[1]) if rate else 0

    def send(self, target, count, *, seconds=240, **how):
        return self.outcome(self._machine.shell(self.script(target, count, **how), timeout=seconds))


class LongQueue:
    """A queue before an interface of a machine that is long enough to drop nothing: what is sent arrives. Use as a context."""

    def __init__(self, machine, interface):
        self._machine, self._interface = machine, interface

    def __enter__(self):
        self._machine.shell(f"tc qdisc replace dev {self._interface} root pfifo limit 100000")
        return self

    def __exit__(self, *_):
        self._machine.shell(f"tc qdisc delete dev {self._interface} root")

    def dropped(self):
        """Frames that it has dropped all the same."""
        return sum(each["drops"] for each in json.loads(self._machine.run("tc", "-s", "-j", "qdisc", "show", "dev", self._interface).out))


class SynFlood(LongQueue):
    """sluice-flood in a namespace of its own with an interface on the machine's: SYNs from 198.18.0.0/15. Use as a context."""

    def __enter__(self):
        self._machine.shell(f"modprobe macvlan; ip netns add {FLOOD_SPACE}; "
                            f"ip link add link {self._interface} name fl0 netns {FLOOD_SPACE} type macvlan mode bridge; "
                            f"ip -n {FLOOD_SPACE} link set fl0 up", timeout=60)
        return super().__enter__()

    def __exit__(self, *_):
        self._machine.run("ip", "netns", "delete", FLOOD_SPACE)
        super().__exit__()

    def words(self, target_mac, server, rate, count, seconds=60):
        return ("ip", "netns", "exec", FLOOD_SPACE, BUILD / "perf" / "client" / "sluice-flood", "--space", FLOOD_SPACE, "--interface", "fl0",
                "--mac", target_mac, "--server", f"{server}:80", "--rate", rate, "--count", count, "--seconds", seconds)

    def send(self, *where):
        """Returns how many SYNs were sent."""
        return json.loads(self._machine.run(*self.words(*where), timeout=150).out)["sent"]


def malformed_words(bench, link, count, only=()):
    """The words that send `count` frames of each malformed kind (only: of these counters) to the server's end of a link."""
    here, there = bench.nic(link, "client"), bench.nic(link, "server")
    wanted = {"interface": bench.interfaces["client"][link][0], "count": count, "only": only, "target_mac": there.mac, "source_mac": here.mac,
              "source": here.ip(), "target": there.ip(), "source6": here.ip(6), "target6": there.ip(6)}
    return "python3", "-I", MALFORMED, json.dumps(wanted)


class Downloads:
    """curl in the client, one download after another, while something else goes on."""

    def __init__(self, bench, link, tree, name="1048576.bin"):
        self._client, self._tree, self._name = bench["client"], tree, name
        url = bench.nic(link, "server").url(name)
        self._job = self._client.start_job(
            "bash", "-c", f"set -o pipefail; while [ ! -e /run/enough ]; do curl -sS --fail --max-time 120 {url} | sha256sum || exit; done")

    def finish(self):
        """Returns (downloads, how many of them were exact). Raises when one failed."""
        self._client.shell("touch /run/enough")
        code = self._job.wait(150)
        self._client.shell("rm /run/enough")
        lines = [line for line in self._job.output().splitlines() if line.strip()]
        assert code == 0, f"a download failed: {code}: {lines[-3:]}"
        return len(lines), sum(line.split()[0] == self._tree.digests[self._name] for line in lines)


class Accounts:
    """What arrived at the server since this was made, by cause."""

    DEVICE = ("device_missed", "device_rx_errors", "device_no_mbuf")

    def __init__(self, served, link):
        self._served, self._link = served, link
        self._before = self._read()

    def _read(self):
        facts = self._served.port_facts()[self._link]
        return {**self._served.stats(), **{key: facts[key] for key in self.DEVICE}}

    def moved(self):
        now = self._read()
        return {key: now[key] - self._before[key] for key in now if isinstance(now[key], int)}

    def settled(self, counted, wanted, quiet_seconds=12):
        """What has moved once counted(moved) is `wanted`, or has stood still: frames wait in queues between two machines."""
        last, since = None, time.monotonic()
        while True:
            moved = self.moved()
            value = counted(moved)
            if value != last:
                last, since = value, time.monotonic()
            if value >= wanted or time.monotonic() - since > quiet_seconds:
                return moved
            time.sleep(0.5)


def missed(moved):
    """Frames that reached the device and not sluice: the device counts them itself."""
    return moved["device_missed"] + moved["device_rx_errors"]


def client_syns(machine):
    """SYNs that a machine's kernel has sent: connections begun, and SYNs sent again."""
    snmp, extended = (machine.run("cat", f"/proc/net/{name}").out.splitlines() for name in ("snmp", "netstat"))

    def row(lines, kind):
        names, values = (line.split()[1:] for line in lines if line.startswith(kind))
        return dict(zip(names, map(int, values)))
    return row(snmp, "Tcp:")["ActiveOpens"] + row(extended, "TcpExt:")["TCPSynRetrans"]


def left_interface(machine, interface):
    """Frames that an interface of a machine has sent: those that a queue before it dropped are not among them."""
    return int(machine.read(f"/sys/class/net/{interface}/statistics/tx_packets"))
