"""Smoke: a machine with two NUMA nodes, an IOMMU and a NIC of each driver serves correct bytes, by the offloads it was told to use.

Blocking: when this fails, no other suite need be run. Part of scripts/test (stage dts).
"""
import time

import pytest

from testbed.checks import verify_bytes, verify_end, verify_offloads
from testbed.profiles import expected_of
from testbed.server import HOST_SETUP, Sluiced
from testbed.topology import links_of

TOPOLOGY = "drivers"
LINKS = links_of(TOPOLOGY)
PAGES = 160  # of 2 MiB, on each node

# Small tables: the machine has little memory, and touching it takes time under emulation.
SMALL = ("--polling", "adaptive", "--max-connections", "400", "--max-objects", "1000")

# What drivers_config and the device together must turn on, as `sluicectl ports` names it; and whether the driver says of a
# received frame that its checksum is right (em_rxtx.c of DPDK 22.11 only ever says that one is wrong). Of a real NIC its profile says it.
OFFLOADS = {
    "virtio": {"driver": "net_virtio", "vouches": True, "offloads": {"rx_checksum", "tx_checksum", "tso", "chained_mbufs"}},
    "vmxnet3": {"driver": "net_vmxnet3", "vouches": True, "offloads": {"rx_checksum", "tx_checksum", "tso", "chained_mbufs"}},
    "e1000e": {"driver": "net_e1000_em", "vouches": False, "offloads": {"rx_checksum", "tx_checksum", "chained_mbufs"}},
}


def test_the_machine_is_what_the_topology_says(bench, case):
    """Two nodes, an IOMMU, and each NIC on the node that the topology gives it.

    Steps:
        Boot both machines. Read sysfs in the server, and the clock of each machine twice.
    Verify:
        Nodes, IOMMU groups, the NUMA node of each NIC's PCI device; seconds are as long there as here.
    """
    server = bench["server"]
    if bench.topology.machines_are == "hosts":
        pytest.skip("real machines are as they are: `sluiced check` looks at them")
    case.note(f"both machines were up {bench.boot_seconds:.0f} s after QEMU was started")
    nodes = server.shell("ls -d /sys/devices/system/node/node[0-9]* | wc -l").strip()
    case.verify("the server has 2 NUMA nodes", nodes == "2", nodes)
    for name, machine in bench.machines.items():
        rate = clock_rate(machine)
        case.verify(f"{name}: its clock runs {rate:.2f} times as fast as this host's", 0.9 < rate < 1.1, rate)
    for nic in server.nics:
        pci = bench.interfaces["server"][nic.link][1]
        node = server.shell(f"cat /sys/bus/pci/devices/{pci}/numa_node").strip()
        group = server.run("test", "-e", f"/sys/bus/pci/devices/{pci}/iommu_group", check=False).rc
        case.verify(f"{nic.link} ({pci}) is on node {nic.node}, in an IOMMU group", (node, group) == (str(nic.node), 0), (node, group))


def clock_rate(machine, seconds=4):
    """How fast a machine's clock runs, by this host's."""
    began, first = time.monotonic(), float(machine.read("/proc/uptime").split()[0])
    time.sleep(seconds)
    return (float(machine.read("/proc/uptime").split()[0]) - first) / (time.monotonic() - began)


@pytest.fixture(scope="module")
def prepared(bench):
    """The server with hugepages on each node and every NIC at vfio-pci, by scripts/host-setup.

    Returns: {link: PCI address}, and what was there before: ({link: driver}, hugepages of each node).
    """
    server = bench["server"]
    addresses = {nic.link: bench.interfaces["server"][nic.link][1] for nic in server.nics}
    words = [word for address in addresses.values() for word in ("--bind", address)]
    before = {link: driver_of(server, address) for link, address in addresses.items()}, hugepages(server)
    server.run(HOST_SETUP, "--hugepages", PAGES, *words, timeout=120)
    return addresses, before


def driver_of(server, address):
    return server.shell(f"basename $(readlink /sys/bus/pci/devices/{address}/driver)").strip()


def hugepages(server):
    return server.shell("cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages").split()


@pytest.fixture(scope="module")
def served(bench, prepared, tree):
    """One sluiced on all of the NICs."""
    server = bench["server"]
    ports = [(bench.nic(link, "server"), address) for link, address in prepared[0].items()]
    with Sluiced(server, ports, tree.folder, cache="32M", arguments=SMALL) as running:
        yield running


@pytest.mark.parametrize("link", LINKS)
def test_bytes_arrive_whole(served, bench, tree, link, case):
    """Files of odd and even sizes arrive as they are, over IPv4 and IPv6, on this driver.

    Steps:
        From the client machine: curl each file over IPv4, one over IPv6, and a range that begins and ends at odd places.
    Verify:
        SHA-256 of each against that of the file.
    """
    case.note(f"sluiced was ready {served.start_seconds:.1f} s after it was started")
    verify_bytes(bench, tree, link, case)


@pytest.mark.parametrize("link", LINKS)
def test_offloads_are_used(served, bench, tree, link, case):
    """The offloads of the driver's profile are on, and its counters show that the device did the work.

    Steps:
        Read the counters, download 1 MB over this NIC, read them again.
    Verify:
        `sluicectl ports` names the offloads; checksums left to the device, trains cut by it, checksums vouched for by it, payload
        copied: each moved, or stood still, as the offloads say.
    """
    verify_offloads(bench, served, tree, link, OFFLOADS.get(link) or expected_of(bench.nic(link, "server")), case)


def test_sluiced_ends_well(served, case):
    """SIGTERM ends it: exit status 0, nothing left in a NIC.

    Steps:
        SIGTERM to sluiced.
    Verify:
        Its exit status; its log says no word of frames that did not leave.
    """
    verify_end(served, case)


def test_host_setup_takes_everything_back(bench, prepared, case):
    """The NICs return to the kernel's drivers, the hugepages to what they were.

    Steps:
        scripts/host-setup --undo, twice.
    Verify:
        Drivers and hugepages as at boot; the second time says that there is nothing to do.
    """
    server = bench["server"]
    server.run(HOST_SETUP, "--undo", timeout=120)
    addresses, (drivers, pages) = prepared
    for link, address in addresses.items():
        driver = driver_of(server, address)
        case.verify(f"{link} is with {drivers[link]} again", driver == drivers[link] != "vfio-pci", driver)
    case.verify(f"as many hugepages are reserved as before: {', '.join(pages)}", hugepages(server) == pages, hugepages(server))
    again = server.run(HOST_SETUP, "--undo").out.strip()
    case.verify("a second --undo has nothing to do", again == "nothing to undo", again)
