"""Features: the table of driver x (queues, RSS, checksum, TSO, chained mbufs, jumbo MTU, VLAN, IPv6, link events)."""
import json
import time

import pytest

from testbed.server import HOST_SETUP, Sluiced

TOPOLOGY = "features"
# What stands in each row: the profile's name, and the offloads that the device must offer.
DRIVERS = {
    "virtio": ("net_virtio", {"rx_checksum", "tx_checksum", "tso", "chained_mbufs"}),
    "vmxnet3": ("net_vmxnet3", {"rx_checksum", "tx_checksum", "tso", "chained_mbufs"}),
    "e1000e": ("net_e1000_em", {"rx_checksum", "tx_checksum", "chained_mbufs"}),
    "e1000": ("net_e1000_em", {"rx_checksum", "tx_checksum", "chained_mbufs"}),
}
# QEMU's vmxnet3 takes the settings of RSS and puts every frame on the first queue all the same.
IGNORES_RSS = {"vmxnet3"}
PAGES = 150
SMALL = ("--polling", "adaptive", "--max-connections", "200", "--max-objects", "500")
VLAN = 60
WRONG_CHECKSUMS = 20

# In the client: SYNs whose TCP checksum is wrong, made by hand, out of a packet socket.
BAD_SYNS = """
import socket, struct, sys
interface, source_mac, mac, source, target, count = sys.argv[1:]
def total(data):
    data += b"\\0" * (len(data) % 2)
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16: value = (value & 0xffff) + (value >> 16)
    return ~value & 0xffff
link = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex(source_mac.replace(":", "")) + b"\\x08\\0"
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); out.bind((interface, 0))
for n in range(int(count)):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, n, 0, 64, 6, 0, socket.inet_aton(source), socket.inet_aton(target))
    ip = ip[:10] + struct.pack("!H", total(ip)) + ip[12:]
    tcp = struct.pack("!HHIIBBHHH", 20000 + n, 80, 1, 0, 0x50, 2, 1024, 0, 0)
    right = total(socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, 6, 20) + tcp)
    out.send(link + ip + tcp[:16] + struct.pack("!H", right ^ 0x0101) + tcp[18:] + b"\\0" * 6)
"""


@pytest.fixture(scope="module", params=DRIVERS)
def link(request, bench):
    server, name = bench["server"], request.param
    server.run(HOST_SETUP, "--hugepages", PAGES, "--bind", bench.interfaces["server"][name][1], timeout=120)
    return name


@pytest.fixture
def row(case, link):
    table = case.table("driver")

    def fill(column, value):
        table.set(f"{DRIVERS[link][0].removeprefix('net_')} ({link})", column, value)
    return fill


def serve(bench, link, tree, *more, workers=1):
    return Sluiced(bench["server"], [(bench.nic(link, "server"), bench.interfaces["server"][link][1])], tree.folder,
                   cache="32M", workers=workers, arguments=(*SMALL, *more), mtu=None)


def download(bench, tree, url, name):
    got = bench["client"].shell(f"curl -g -sS --fail --max-time 120 '{url}' | sha256sum", timeout=150).split()[0]
    return got == tree.digests[name]


def set_client_mtu(bench, link, mtu):
    bench["client"].run("ip", "link", "set", bench.interfaces["client"][link][0], "mtu", mtu)


def eventually(check, seconds=15):
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def test_queues_offloads_and_link(bench, link, tree, row, case):
    """Two workers on this driver: queue pairs, steering, offloads, IPv4, IPv6, wrong checksums, the cable out and in.

    Steps:
        Start sluiced with two workers. Download over both families, six connections at once. Send SYNs with wrong checksums. Pull
        the cable, put it back, download again.
    Verify:
        Digests; the offloads that the device must offer; both workers served; every wrong checksum dropped and counted; the link's
        state as `sluicectl ports` says it.
    """
    set_client_mtu(bench, link, 1500)
    driver, offered = DRIVERS[link]
    nic, client, name = bench.nic(link, "server"), bench["client"], list(tree.digests)[-1]
    with serve(bench, link, tree, workers=2) as running:
        facts = running.port_facts()[link]
        case.verify(f"driver {driver}", facts["driver"] == driver, facts)
        row("queues", f"{facts['rx_queues']} rx, {facts['tx_queues']} tx of {nic.queues}")
        case.verify(f"{facts['rx_queues']} queue pairs, {facts['steering']} steering", facts["rx_queues"] >= 1)
        has = set(facts["offloads"].split())
        for column, wanted in (("checksum", {"rx_checksum", "tx_checksum"}), ("TSO", {"tso"}), ("chained mbufs", {"chained_mbufs"})):
            row(column, "pass" if wanted <= has else "not offered" if not wanted <= offered else "FAIL")
        case.verify(f"offloads: {', '.join(sorted(has))}", has == offered, has)
        case.verify("IPv4: 4 MB arrived whole", download(bench, tree, nic.url(name), name))
        case.verify("IPv6: 4 MB arrived whole", download(bench, tree, nic.url(name, 6), name))
        row("IPv6", "pass")
        small = "1048576.bin"
        script = f"for i in 1 2 3 4 5 6; do curl -sS --fail --max-time 150 {nic.url(small)} | sha256sum & done; wait"
        digests = [line.split()[0] for line in client.shell(script, timeout=120).splitlines()]
        case.verify("six downloads at once arrived whole", digests == [tree.digests[small]] * 6, digests)
        by_worker = json.loads(running.sluicectl("stats", "--json"))["workers"]
        by_worker = by_worker.values() if isinstance(by_worker, dict) else by_worker
        sent = [worker["tx_bytes"] for worker in by_worker]
        handed = sum(worker["nic_rx_handed_over"] for worker in by_worker)
        by_device = facts["steering"] == "rss" and facts["rx_queues"] > 1
        if by_device and link in IGNORES_RSS:
            row("RSS", "claimed, but this device puts all on queue 0")
            case.verify(f"one worker sent all: {sent} bytes", min(sent) == 0 and max(sent) > 6_000_000, sent)
        else:
            row("RSS", "pass" if by_device else "not offered: steered in software")
            case.verify(f"both workers sent: {sent} bytes", len(sent) == 2 and min(sent) > 100_000, sent)
        case.note(f"{handed} frames were handed from worker to worker (neighbour frames, and flows where there is no RSS)")

        before = running.stats()
        address = bench.interfaces["client"][link][0]
        mac = client.read(f"/sys/class/net/{address}/address").decode().strip()
        client.run("python3", "-I", "-c", BAD_SYNS, address, mac, facts["mac"], bench.nic(link, "client").ip(), nic.ip(), WRONG_CHECKSUMS)
        case.verify(f"{WRONG_CHECKSUMS} SYNs with wrong checksums: all dropped and counted, none received", eventually(
            lambda: running.stats()["inet_drop_tcp_checksum"] - before["inet_drop_tcp_checksum"] == WRONG_CHECKSUMS
            and running.stats()["tcp_syn_received"] == before["tcp_syn_received"]), running.stats()["inet_drop_tcp_checksum"])

        bench["server"].set_link(nic, False)
        down = eventually(lambda: not running.port_facts()[link]["link_up"])
        bench["server"].set_link(nic, True)
        up = eventually(lambda: running.port_facts()[link]["link_up"])
        again = download(bench, tree, nic.url(name), name)
        row("link events", "pass" if down and up and again else f"FAIL: down seen {down}, up seen {up}, serves {again}")
        case.verify("cable out is seen, cable in is seen, and it serves again", down and up and again, (down, up, again))


def test_jumbo_frames(bench, link, tree, row, case):
    """An MTU of 9000: frames are that large and the bytes are right.

    Steps:
        Start sluiced with --mtu 9000; the client's interface likewise. Download 4 MB.
    Verify:
        The digest; the mean frame sent has more than 5,000 bytes.
    """
    set_client_mtu(bench, link, 9000)
    nic, name = bench.nic(link, "server"), list(tree.digests)[-1]
    with serve(bench, link, tree, "--mtu", "9000") as running:
        case.verify("4 MB arrived whole", download(bench, tree, nic.url(name), name))
        stats = running.stats()
        mean = stats["tx_bytes"] // max(1, stats["tx_frames"])
        case.verify(f"the mean frame has {mean} bytes", mean > 5000)
        row("jumbo MTU", "pass")
    set_client_mtu(bench, link, 1500)


def test_vlan(bench, link, tree, row, case):
    """Tagged frames: sluiced on VLAN 60, the client with an interface on it.

    Steps:
        Start sluiced with --vlan 60; the client takes its addresses to a VLAN interface. Download over IPv4 and IPv6.
    Verify:
        Digests; untagged frames are dropped and counted.
    """
    set_client_mtu(bench, link, 1500)
    nic, end, client, name = bench.nic(link, "server"), bench.nic(link, "client"), bench["client"], list(tree.digests)[-1]
    interface = bench.interfaces["client"][link][0]
    with serve(bench, link, tree, "--vlan", VLAN) as running:
        client.run("ping", "-c", "1", "-W", "1", nic.ip(), check=False)
        case.verify("untagged frames are dropped and counted", eventually(lambda: running.stats()["inet_drop_vlan"] > 0))
        client.shell(f"ip address flush dev {interface} scope global; ip link add link {interface} name v{end.place} type vlan id {VLAN}; "
                     f"ip address add {end.prefix(4)} dev v{end.place}; ip -6 address add {end.prefix(6)} dev v{end.place} nodad; "
                     f"ip link set v{end.place} up")
        try:
            case.verify("IPv4 on VLAN 60: 4 MB arrived whole", download(bench, tree, nic.url(name), name))
            case.verify("IPv6 on VLAN 60: 4 MB arrived whole", download(bench, tree, nic.url(name, 6), name))
        finally:
            client.shell(f"ip link delete v{end.place}; ip address add {end.prefix(4)} dev {interface}; "
                         f"ip -6 address add {end.prefix(6)} dev {interface} nodad")
        row("VLAN", "pass")
