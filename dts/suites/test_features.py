"""Features: the table of driver x (queues, RSS, checksum, TSO, chained mbufs, jumbo MTU, VLAN, IPv6, link events) of docs/drivers.md."""
import json
import os
import tomllib

import pytest

from testbed.checks import MEDIUM, eventually, fetch, verify_bytes, verify_offloads
from testbed.profiles import expected_of
from testbed.server import HOST_SETUP, ROOT, Sluiced
from testbed.topology import chosen, links_of, read_topology
from testbed.traffic import Accounts, malformed_words

TOPOLOGY = "features"
TCP = {"rx_checksum", "tx_checksum", "chained_mbufs"}
# Of each link: how its row is called; the profile; the offloads that the device must offer; whether the driver says of a received frame
# that its checksum is right (em_rxtx.c of DPDK 22.11 only ever says that one is wrong).
DRIVERS = {
    "e1000": {"row": "e1000 (82540EM)", "driver": "net_e1000_em", "offloads": TCP, "vouches": False},
    "e1000-82545em": {"row": "e1000-82545em", "driver": "net_e1000_em", "offloads": TCP, "vouches": False},
    "e1000e": {"row": "e1000e (82574L)", "driver": "net_e1000_em", "offloads": TCP, "vouches": False},
    "vmxnet3": {"row": "vmxnet3", "driver": "net_vmxnet3", "offloads": TCP | {"tso"}, "vouches": True},
    "virtio": {"row": "virtio-net (2 queues, `rss=on`)", "driver": "net_virtio", "offloads": TCP | {"tso"}, "vouches": True},
}
PROFILES = {"net_virtio": "virtio", "net_vmxnet3": "vmxnet3", "net_e1000_em": "e1000"}
# QEMU's vmxnet3 takes the settings of RSS and puts every frame on the first queue all the same.
IGNORES_RSS = {"vmxnet3"}
TITLE = "device"
COLUMNS = ("queues", "RSS", "checksum", "TSO", "chained mbufs", "IPv6", "wrong checksums", "odd sizes", "jumbo MTU", "VLAN", "link events")
DOCUMENT = ROOT / "docs" / "drivers.md"
BEGIN, END = "<!-- written by scripts/dts features --write -->", "<!-- end -->"
PAGES = 80
SMALL = ("--polling", "adaptive", "--max-connections", "200", "--max-objects", "500")
VLAN = 60
WRONG_EACH = 20
SMALL_FILE = "100003.bin"
FLOWS = 20  # that all of them have one worker's hash happens once in half a million runs
ODD_MSS = (997, 1001)

# In the client: requests of every length from 61 bytes on in odd steps, so that what sluice receives has odd and even sizes.
ODD_REQUESTS = """
import socket, sys
address = sys.argv[1]
right = 0
for pad in range(1, 1300, 37):
    with socket.create_connection((address, 80), timeout=60) as connection:
        connection.sendall(f"GET /1.bin HTTP/1.1\\r\\nHost: {address}\\r\\nConnection: close\\r\\nX-Pad: {'x' * pad}\\r\\n\\r\\n".encode())
        answer = b""
        while data := connection.recv(65536): answer += data
        right += answer.startswith(b"HTTP/1.1 200") and len(answer.partition(b"\\r\\n\\r\\n")[2]) == 1
print(right, len(range(1, 1300, 37)))
"""


def facts_of(link):
    """What is said above, or, of a real NIC, what its profile says."""
    return DRIVERS.get(link) or {"row": link, **expected_of(read_topology(chosen(TOPOLOGY)).nic(link, "server"))}


@pytest.fixture(scope="module", params=links_of(TOPOLOGY))
def link(request, bench):
    server, name = bench["server"], request.param
    server.run(HOST_SETUP, "--hugepages", PAGES, "--bind", bench.interfaces["server"][name][1], timeout=120)
    return name


@pytest.fixture
def row(case, link):
    """Fills a cell of this link's row: what a case verified, it may enter."""
    return lambda column, value: case.table(TITLE).set(facts_of(link)["row"], column, value)


def serve(bench, link, tree, *more, workers=1):
    return Sluiced(bench["server"], [(bench.nic(link, "server"), bench.interfaces["server"][link][1])], tree.folder,
                   cache="32M", workers=workers, arguments=(*SMALL, *more), mtu=None)


def set_client_mtu(bench, link, mtu):
    bench["client"].run("ip", "link", "set", bench.interfaces["client"][link][0], "mtu", mtu)


def test_queues_and_rss(bench, bare, link, tree, row, case):
    """Two workers on this driver: queue pairs, and flows on both workers, by the device's RSS or by sluice's own steering.

    Steps:
        Start sluiced with two workers. FLOWS downloads of 100 KB at once.
    Verify:
        Digests; the queue pairs; both workers sent, or, where the emulated device ignores RSS, one sent all.
    """
    set_client_mtu(bench, link, 1500)
    nic, client = bench.nic(link, "server"), bench["client"]
    with serve(bench, link, tree, workers=2) as running:
        facts = running.port_facts()[link]
        wanted = 2 if nic.queues == 2 or link == "vmxnet3" else 1
        case.verify(f"{wanted} queue pairs, {facts['steering']} steering", (facts["rx_queues"], facts["tx_queues"]) == (wanted, wanted), facts)
        row("queues", wanted)
        script = f"for i in {{1..{FLOWS}}}; do curl -sS --fail --max-time 150 {nic.url(SMALL_FILE)} | sha256sum & done; wait"
        digests = [line.split()[0] for line in client.shell(script, timeout=170).splitlines()]
        case.verify(f"{FLOWS} downloads at once arrived whole", digests == [tree.digests[SMALL_FILE]] * FLOWS, digests)
        by_worker = json.loads(running.sluicectl("stats", "--json"))["workers"]
        sent, payload = [worker["tx_bytes"] for worker in by_worker], FLOWS * int(SMALL_FILE.removesuffix(".bin"))
        case.note(f"{sum(worker['nic_rx_handed_over'] for worker in by_worker)} frames were handed from worker to worker")
        by_device = facts["steering"] == "rss" and facts["rx_queues"] > 1
        if by_device and link in IGNORES_RSS:
            case.verify(f"one worker sent all: {sent} bytes", min(sent) == 0 and max(sent) > payload, sent)
            row("RSS", "claimed; QEMU puts all on queue 0")
        else:
            case.verify(f"both workers sent: {sent} bytes", len(sent) == 2 and min(sent) > 100_000 and sum(sent) > payload, sent)
            row("RSS", "pass" if by_device else "not offered")


class Plain:
    """A sluiced without more, for the cases that follow one another and need no other: started by the first that asks."""

    def __init__(self, bench, link, tree):
        self._bench, self._link, self._tree = bench, link, tree
        self._running = None

    def get(self):
        if self._running is None:
            set_client_mtu(self._bench, self._link, 1500)
            self._running = serve(self._bench, self._link, self._tree).__enter__()
        return self._running

    def end(self):
        if self._running is not None:
            self._running.__exit__()
        self._running = None


@pytest.fixture(scope="module")
def plain(bench, link, tree):
    made = Plain(bench, link, tree)
    yield made
    made.end()


@pytest.fixture
def bare(plain):
    """The NIC is free for a sluiced of the case's own."""
    plain.end()


def test_offloads_and_sizes(bench, plain, link, tree, row, case):
    """The offloads of the profile are on and used; sizes are odd; checksums are wrong; nothing of it harms a byte.

    Steps:
        Files of odd and even sizes over both families, an odd range. Requests of odd lengths. Downloads with segments of 997 and 1,001
        bytes, as the client's route announces. Frames whose IPv4, TCP over IPv4 and TCP over IPv6 checksum is wrong.
    Verify:
        Digests; the device's counters of checksums and trains; of the wrong checksums each one dropped and counted, none received.
    """
    running, client, nic, interface = plain.get(), bench["client"], bench.nic(link, "server"), bench.interfaces["client"][link][0]
    verify_offloads(bench, running, tree, link, facts_of(link), case)
    offered = facts_of(link)["offloads"]
    for column, needs in (("checksum", {"rx_checksum", "tx_checksum"}), ("TSO", {"tso"}), ("chained mbufs", {"chained_mbufs"})):
        row(column, "pass" if needs <= offered else "not offered")

    verify_bytes(bench, tree, link, case, last=MEDIUM)
    row("IPv6", "pass")
    right, all_of_them = client.run("python3", "-I", "-c", ODD_REQUESTS, nic.ip(), timeout=200).out.split()
    case.verify(f"{right} requests of odd and even lengths were answered", right == all_of_them, (right, all_of_them))
    end = bench.nic(link, "client")
    subnet = end.prefix(4).replace(f".{end.end}/", ".0/")
    for mss in ODD_MSS:
        client.shell(f"ip route replace {subnet} dev {interface} src {end.ip()} advmss {mss}")
        before = running.stats()
        case.verify(f"segments of {mss} bytes: 1 MB arrived whole", fetch(bench, tree, link, MEDIUM))
        after = running.stats()
        mean = (after["tx_bytes"] - before["tx_bytes"]) / (after["tx_frames"] - before["tx_frames"])
        # 14 + 20 + 20, and 12 of timestamps, which the announced size includes (RFC 6691).
        case.verify(f"its frames had {mean:.0f} bytes on average", mss - 60 < mean <= mss + 54, mean)
    client.shell(f"ip route replace {subnet} dev {interface} src {end.ip()}")
    row("odd sizes", "pass")

    accounts = Accounts(running, link)
    wrong = ("inet_drop_ipv4_checksum", "inet_drop_tcp_checksum")
    sent = json.loads(client.run(*malformed_words(bench, link, WRONG_EACH, wrong), timeout=60).out)
    moved = accounts.settled(lambda moved: sum(moved[counter] for counter in wrong), sum(sent.values()))
    case.verify(f"wrong checksums: {sent}, each dropped and counted", all(moved[counter] == sent[counter] for counter in wrong),
                {counter: moved[counter] for counter in wrong})
    case.verify("none of them reached TCP", moved["tcp_syn_received"] == 0, moved["tcp_syn_received"])
    row("wrong checksums", "pass")


def test_link_events(bench, plain, link, tree, row, case):
    """The cable out and in: seen both times, and it serves again.

    Steps:
        Pull the cable, put it back, download.
    Verify:
        The link's state as `sluicectl ports` says it; the log; the digest.
    """
    server, nic, running = bench["server"], bench.nic(link, "server"), plain.get()
    case.verify("the link is up", eventually(lambda: running.port_facts()[link]["link_up"]))
    server.set_link(nic, False)
    case.verify("the cable out is seen", eventually(lambda: not running.port_facts()[link]["link_up"]))
    case.verify("and logged", eventually(lambda: "the link is down" in running.logged()))
    server.set_link(nic, True)
    case.verify("the cable in is seen", eventually(lambda: running.port_facts()[link]["link_up"]))
    case.verify("1 MB arrived whole", fetch(bench, tree, link, MEDIUM))
    row("link events", "pass")


def test_jumbo_frames(bench, bare, link, tree, row, case):
    """An MTU of 9000: frames are that large and the bytes are right.

    Steps:
        Start sluiced with --mtu 9000; the client's interface likewise. Download 1 MB over both families.
    Verify:
        The digests; the mean frame sent has more than 5,000 bytes.
    """
    set_client_mtu(bench, link, 9000)
    with serve(bench, link, tree, "--mtu", "9000") as running:
        case.verify("IPv4: 1 MB arrived whole", fetch(bench, tree, link, MEDIUM))
        case.verify("IPv6: 1 MB arrived whole", fetch(bench, tree, link, MEDIUM, 6))
        stats = running.stats()
        mean = stats["tx_bytes"] // max(1, stats["tx_frames"])
        case.verify(f"the mean frame has {mean} bytes", mean > 5000)
        row("jumbo MTU", "pass")
    set_client_mtu(bench, link, 1500)


def test_vlan(bench, bare, link, tree, row, case):
    """Tagged frames: sluiced on VLAN 60, the client with an interface on it.

    Steps:
        Start sluiced with --vlan 60; the client takes its addresses to a VLAN interface. Download over IPv4 and IPv6.
    Verify:
        Digests; untagged frames are dropped and counted.
    """
    set_client_mtu(bench, link, 1500)
    nic, end, client = bench.nic(link, "server"), bench.nic(link, "client"), bench["client"]
    interface = bench.interfaces["client"][link][0]
    with serve(bench, link, tree, "--vlan", VLAN) as running:
        client.run("ping", "-c", "1", "-W", "1", nic.ip(), check=False)
        case.verify("untagged frames are dropped and counted", eventually(lambda: running.stats()["inet_drop_vlan"] > 0))
        client.shell(f"ip address flush dev {interface} scope global; ip link add link {interface} name v{end.place} type vlan id {VLAN}; "
                     f"ip address add {end.prefix(4)} dev v{end.place}; ip -6 address add {end.prefix(6)} dev v{end.place} nodad; "
                     f"ip link set v{end.place} up")
        try:
            case.verify("IPv4 on VLAN 60: 1 MB arrived whole", fetch(bench, tree, link, MEDIUM))
            case.verify("IPv6 on VLAN 60: 1 MB arrived whole", fetch(bench, tree, link, MEDIUM, 6))
        finally:
            client.shell(f"ip link delete v{end.place}; ip address add {end.prefix(4)} dev {interface}; "
                         f"ip -6 address add {end.prefix(6)} dev {interface} nodad")
        row("VLAN", "pass")


def test_profile_and_documentation_say_the_same(link, case):
    """The driver's profile asks for what the device was seen to offer and says that it was run; this row of docs/drivers.md is this run's.

    Steps:
        Read the profile. Compare the row, where every case of this driver has passed; `scripts/dts features --write` writes it instead.
    Verify:
        The profile uses the offloads that devices of this driver offer, and no other; `verified` names this device; not a cell differs.
    """
    if link not in DRIVERS:
        pytest.skip("the table of docs/drivers.md is of emulated devices")
    facts = DRIVERS[link]
    profile = tomllib.loads((ROOT / "drivers_config" / f"{PROFILES[facts['driver']]}.toml").read_text())
    used = {"tso" if each == "tcp_segmentation" else each for each in profile["offloads"]["use"]}
    case.verify(f"the profile uses {', '.join(sorted(used))}", used == facts["offloads"], (used, facts["offloads"]))
    case.verify("it says that this device was run", profile["verified"].startswith("run: dts") and link.split("-", 1)[-1] in profile["verified"],
                profile["verified"])
    cells = case.table(TITLE).cells.get(facts["row"], {})
    missing = [column for column in COLUMNS if column not in cells]
    if missing:
        pytest.skip(f"{len(missing)} cells were not filled by this run, the first: {missing[0]}")
    row = f"| {facts['row']} | " + " | ".join(str(cells[column]) for column in COLUMNS) + " |"
    if os.environ.get("SLUICE_DTS_WRITE"):
        write_row(facts["row"], row)
    case.verify(f"docs/drivers.md has this row of {len(COLUMNS)} columns", f"\n{row}\n" in DOCUMENT.read_text(), "scripts/dts features --write")


def write_row(name, row):
    """Puts a row into the table of docs/drivers.md, in the place of the one of that name; the table in the order of DRIVERS."""
    text = DOCUMENT.read_text()
    head, rest = text.split(BEGIN + "\n", 1)
    table, tail = rest.split(END, 1)
    rows = {line.split("|")[1].strip(): line for line in table.splitlines()[2:]} | {name: row}
    lines = [f"| {TITLE} | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [rows[facts["row"]] for facts in DRIVERS.values() if facts["row"] in rows]
    DOCUMENT.write_text(head + "\n".join([BEGIN, *lines, END]) + tail)
