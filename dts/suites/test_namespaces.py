"""Namespaces: the smoke suite's downloads on each kind of software port, in network namespaces: no machine boots, seconds."""
import json

import pytest

from rig.namespace import Namespace, quiet_kernel_side, run
from testbed.bench import Bench
from testbed.checks import eventually, fetch, verify_bytes, verify_end, verify_offloads
from testbed.pktgen_dpdk import SCRIPTS, find_pktgen_dpdk, verify_pktgen_dpdk
from testbed.profiles import expected_of
from testbed.server import Sluiced
from testbed.topology import read_topology
from testbed.wires import PREFIX

TOPOLOGY = "namespaces"
SMALL = ("--max-connections", "400", "--max-objects", "1000")
# What the profiles of the software ports say (drivers_config).
EXPECTED = {
    "tap": {"driver": "net_tap", "vouches": False, "offloads": {"chained_mbufs"}},
    "af_packet": {"driver": "net_af_packet", "vouches": False, "offloads": {"chained_mbufs"}},
    "af_xdp": {"driver": "net_af_xdp", "vouches": False, "offloads": set()},
}


@pytest.fixture(scope="module", params=EXPECTED)
def link(request):
    return request.param


@pytest.fixture(scope="module")
def served(bench, link, tree):
    with Sluiced(bench["server"], [(bench.nic(link, "server"), bench.interfaces["server"][link][1])], tree.folder, cache="32M",
                 arguments=SMALL) as running:
        yield running


def test_bytes_arrive_whole(served, bench, tree, link, case):
    """Files of odd and even sizes arrive as they are, over IPv4 and IPv6, on this port.

    Steps:
        From the client: curl each file over IPv4, one over IPv6, and a range that begins and ends at odd places.
    Verify:
        SHA-256 of each against that of the file.
    """
    verify_bytes(bench, tree, link, case)


def test_offloads_are_what_the_profile_says(served, bench, tree, link, case):
    """A software port offers what its profile says, and the counters agree.

    Steps:
        Read the counters, download 1 MB, read them again.
    Verify:
        Driver and offloads as `sluicectl ports` names them; who summed, cut and copied.
    """
    verify_offloads(bench, served, tree, link, EXPECTED[link], case)


def test_the_cable_is_pulled_and_put_back(served, bench, tree, link, case):
    """The client's end is down for a moment: sluiced serves on afterwards.

    Steps:
        Take the client's end of the veth down; ask for telemetry; put it up again, with its IPv6 address; download.
    Verify:
        Telemetry answers while it is down; the download is exact over both families.
    """
    client, end = bench["client"], bench.nic(link, "client")
    client.set_link(end, False)
    case.verify("telemetry answers while the cable is out", "tx_frames" in served.stats())
    client.set_link(end, True)
    # The kernel takes an interface's IPv6 addresses away when it goes down.
    client.run("ip", "-6", "address", "add", end.prefix(6), "dev", bench.interfaces["client"][link][0], "nodad")
    case.verify("4 MB arrived whole over IPv4", fetch(bench, tree, link))
    case.verify("4 MB arrived whole over IPv6", fetch(bench, tree, link, family=6))


def dropped_on_the_way(bench, link):
    """Frames towards the server that interfaces of the two namespaces say they have dropped."""
    client, server = bench["client"], bench["server"]
    interface = bench.interfaces["client"][link][0]
    here = json.loads(client.run("ip", "-s", "-j", "link", "show", "dev", interface).out)
    there = [each for each in json.loads(server.run("ip", "-s", "-j", "link").out) if each["ifname"] != "lo"]
    return here[0]["stats64"]["tx"]["dropped"] + sum(each["stats64"][way]["dropped"] for each in there for way in ("rx", "tx"))


# (Over the others, what is dropped on the way counts a download's frames too, or counts twice.)
@pytest.mark.parametrize("link", ["af_packet"], indirect=True)
@pytest.mark.parametrize("script", SCRIPTS)
def test_pktgen_dpdk(served, bench, tree, link, script, case):
    """Pktgen-DPDK, where it is found, at the rate that this host gives, by a Lua script of dts/pktgen, while a client downloads.

    Steps:
        Downloads in the client. Pktgen-DPDK out of a packet socket of the same interface.
    Verify:
        Each download exact. What sluice counted under each part's cause, what its port missed and what interfaces between the two
        dropped is what Pktgen's port sent.
    """
    program, reason = find_pktgen_dpdk()
    if not program:
        pytest.skip(reason)
    verify_pktgen_dpdk(program, bench, served, tree, link, script, case, lost=lambda: dropped_on_the_way(bench, link), times=10)


def test_sluiced_ends_well(served, link, case):
    """SIGTERM ends it: exit status 0, nothing left in the port, no socket left behind.

    Steps:
        SIGTERM to sluiced.
    Verify:
        Its exit status; its log says no word of frames that did not leave; its folder in /var/run/dpdk is gone.
    """
    verify_end(served, case)
    case.verify("its folder in /var/run/dpdk is gone", eventually(lambda: not served.runtime_folder().exists(), 5))


HOSTS = """
title = "hosts: what a rack's topology looks like, with namespaces where the servers would be"
machines = "hosts"
[machine.server]
reach = ["ip", "netns", "exec", "{server}"]
[machine.client]
reach = ["ip", "netns", "exec", "{client}"]
[[link]]
name = "rack"
ends = [{{ machine = "server", interface = "r2", port = "af_packet:r2", driver = "net_af_packet" }}, {{ machine = "client", interface = "r1" }}]
"""


def test_real_machines_are_reached_by_a_command(bench, tree, tmp_path, case):
    """A topology of real machines: the agent at the other end of a command, as of ssh, does what suites ask; its jobs end with the connection.

    Steps:
        Two namespaces and a veth; `ip netns exec` is the command. sluiced on a packet socket; downloads; a cable; the connection is cut.
    Verify:
        Digests; the link's state; the client's addresses, sluiced and the agent are gone afterwards.
    """
    server, client = Namespace("rack-server", PREFIX), Namespace("rack-client", PREFIX)
    try:
        client.ip("link", "add", "r1", "type", "veth", "peer", "name", "r2", "netns", server.name)
        quiet_kernel_side(client, "r1")
        server.ip("link", "set", "r2", "up")
        path = tmp_path / "rack.toml"
        path.write_text(HOSTS.format(server=server.name, client=client.name))
        with Bench(read_topology(path), bench.logs) as rack:
            port = (rack.nic("rack", "server"), rack.interfaces["server"]["rack"][1])
            running = Sluiced(rack["server"], [port], tree.folder, cache="32M", huge=False, arguments=SMALL).__enter__()
            verify_bytes(rack, tree, "rack", case)
            verify_offloads(rack, running, tree, "rack", expected_of(port[0]), case)
            case.verify("its MAC address was read", port[0].mac == server.run("cat", "/sys/class/net/r2/address").stdout.decode().strip())
            carrier = []
            for up in (True, False):
                rack["client"].set_link(rack.nic("rack", "client"), up)
                carrier.append(rack["server"].read("/sys/class/net/r2/carrier").decode().strip())
            case.verify("the cable in, the cable out: the other end says so", carrier == ["1", "0"], carrier)
        # Nobody has stopped it: the agent did.
        inside = run("ip", "netns", "pids", server.name)
        case.verify("sluiced and the agent have ended with the connection", not inside.strip(), inside)
        said = client.run("ip", "-j", "address", "show", "dev", "r1").stdout.decode()
        case.verify("the client's addresses are gone", "10.60." not in said, said)
    finally:
        server.close()
        client.close()
