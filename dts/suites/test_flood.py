"""Flood: the kernel's pktgen, SYNs and malformed frames at the highest rate the machine gives; downloads go on, drops add up."""
import pytest

from testbed.server import HOST_SETUP, Sluiced
from testbed.traffic import MALFORMED, WAYS, Pktgen, flood, prepare_flood, remove_flood

TOPOLOGY = "trouble"
DRIVERS = ("virtio", "e1000e")
PAGES = 150
FRAMES = 20_000
SYNS = 10_000
MALFORMED_EACH = 500
SMALL = ("--polling", "adaptive", "--max-connections", "400", "--max-objects", "500")


@pytest.fixture(scope="module", params=DRIVERS)
def link(request, bench):
    bench["server"].run(HOST_SETUP, "--hugepages", PAGES, "--bind", bench.interfaces["server"][request.param][1], timeout=120)
    return request.param


@pytest.fixture(scope="module")
def served(bench, link, tree):
    port = (bench.nic(link, "server"), bench.interfaces["server"][link][1])
    with Sluiced(bench["server"], [port], tree.folder, cache="32M", arguments=SMALL, gateway=bench.nic(link, "client").ip()) as running:
        yield running


class Accounts:
    """What arrived at the server between two moments, by cause."""

    def __init__(self, served, link):
        self._served, self._link = served, link
        self._before = self._read()

    def _read(self):
        facts = self._served.port_facts()[self._link]
        return {**self._served.stats(), **{key: facts[key] for key in ("device_missed", "device_rx_errors", "device_no_mbuf")}}

    def moved(self):
        now = self._read()
        return {key: now[key] - self._before[key] for key in now if isinstance(now[key], int)}


def lost(moved):
    """Frames that reached the device and not sluice."""
    return moved["device_missed"] + moved["device_rx_errors"]


class Downloads:
    """curl in the client, one download after another, while something else goes on."""

    def __init__(self, bench, link, tree):
        self._client, self._tree, self._name = bench["client"], tree, "1048576.bin"
        url = bench.nic(link, "server").url(self._name)
        self._job = self._client.start_job(
            "bash", "-c", f"while [ ! -e /run/enough ]; do curl -sS --fail --max-time 120 {url} | sha256sum; done")

    def finish(self):
        """Returns (downloads, how many of them were exact)."""
        self._client.shell("touch /run/enough")
        code = self._job.wait(150)
        self._client.shell("rm /run/enough")
        lines = [line for line in self._job.output().splitlines() if line.strip()]
        assert code == 0, f"{code}: {lines[-3:]}"
        return len(lines), sum(line.split()[0] == self._tree.digests[self._name] for line in lines)


def test_udp_noise(bench, served, link, tree, case):
    """64-byte UDP frames of pktgen from random sources, then to another MAC address, then tagged, while a client downloads.

    Steps:
        Downloads in the client. pktgen: FRAMES of each of the three kinds, as fast as it can.
    Verify:
        Each download exact. Of each kind, what sluice counted by its cause, and what the device missed, is what pktgen sent.
    """
    client, interface, nic = bench["client"], bench.interfaces["client"][link][0], bench.nic(link, "server")
    pktgen = Pktgen(client, interface, nic.mac)
    downloads = Downloads(bench, link, tree)
    kinds = (("UDP from random sources", "inet_drop_udp", {"sources": ("198.18.0.1", "198.19.255.254")}),
             ("UDP with a VLAN tag", "inet_drop_vlan", {"more": ("vlan_id 77",)}))
    for name, counter, how in kinds:
        accounts = Accounts(served, link)
        sent, rate = pktgen.send(nic.ip(), FRAMES, **how)
        moved = accounts.moved()
        case.note(f"{name}: {sent} sent at {rate} frames/s; {counter} +{moved[counter]}, the device missed {lost(moved)}")
        case.verify(f"{name}: dropped and missed are what was sent", sent == FRAMES and moved[counter] + lost(moved) == sent, moved[counter])
        if how.get("more"):
            pktgen.send(nic.ip(), 1, more=("vlan_id 9999",))  # no tag from here on
    accounts = Accounts(served, link)
    sent, rate = pktgen.send(nic.ip(), FRAMES, mac="52:54:00:00:00:99", more=("vlan_id 9999",))
    moved = accounts.moved()
    counted = moved["inet_drop_frame_foreign"]
    case.note(f"UDP to another MAC address: {sent} sent at {rate} frames/s; sluice saw {counted}, the device filtered the rest")
    case.verify("to another MAC address: none got past the address check", moved["inet_drop_udp"] <= 1 and counted <= sent, moved["inet_drop_udp"])
    count, exact = downloads.finish()
    case.verify(f"{exact} of {count} downloads during it were exact", count > 0 and exact == count)


def test_syn_flood(bench, served, link, tree, case):
    """SYNs from random addresses, as fast as the machine can send them, while a client downloads.

    Steps:
        Downloads in the client. sluice-flood: SYNS SYNs from 198.18.0.0/15.
    Verify:
        Each download exact. SYNs received, less those of the downloads, and what the device missed, are what was sent; no connection
        of the flood was established; half-open connections stay within their table.
    """
    client, interface, nic = bench["client"], bench.interfaces["client"][link][0], bench.nic(link, "server")
    prepare_flood(client, interface)
    try:
        downloads = Downloads(bench, link, tree)
        accounts = Accounts(served, link)
        sent = flood(client, nic.mac, nic.ip(), 100_000, SYNS)
        count, exact = downloads.finish()
        moved = accounts.moved()
    finally:
        remove_flood(client)
    ours = moved["tcp_accepted"]
    counted = moved["tcp_syn_received"] - ours + moved["tcp_drop_connections_full"]
    case.note(f"{sent} SYNs sent; {moved['tcp_syn_received']} received, {ours} connections accepted, the device missed {lost(moved)}")
    case.verify("received and missed are what was sent", sent >= SYNS * 0.99 and abs(counted + lost(moved) - sent) <= 2, (counted, lost(moved), sent))
    case.verify(f"{exact} of {count} downloads during it were exact", count > 0 and exact == count)
    case.verify(f"connections accepted ({ours}) are no more than downloads ({count}, and one before)", ours <= count + 1)


def test_malformed_headers(bench, served, link, tree, case):
    """IPv4 headers that are wrong in six ways, while a client downloads.

    Steps:
        Downloads in the client. MALFORMED_EACH frames of each way, out of a packet socket.
    Verify:
        Each download exact. Each way is counted under its own cause, as often as it was sent (total length: two ways).
    """
    client, nic = bench["client"], bench.nic(link, "server")
    downloads = Downloads(bench, link, tree)
    accounts = Accounts(served, link)
    client.run("python3", "-I", "-c", MALFORMED, bench.interfaces["client"][link][0], nic.mac, bench.nic(link, "client").mac,
               bench.nic(link, "client").ip(), nic.ip(), MALFORMED_EACH, timeout=150)
    count, exact = downloads.finish()
    moved = accounts.moved()
    for counter in WAYS:
        wanted = MALFORMED_EACH * (2 if counter == "inet_drop_ipv4_total_length" else 1)
        case.verify(f"{counter} +{wanted}", moved[counter] == wanted, (moved[counter], lost(moved)))
    case.verify(f"{exact} of {count} downloads during it were exact", count > 0 and exact == count)
