"""NUMA: workers, packet memory and arena are on the node of the NIC that they serve, and a counter shows what is not."""
import re

import pytest

from testbed.checks import MEDIUM
from testbed.server import HOST_SETUP, Sluiced

TOPOLOGY = "drivers"
LINKS = ("virtio", "vmxnet3")  # on node 0 and on node 1
PAGES = 150
CACHE_MIB = 64
SMALL = ("--polling", "adaptive", "--max-connections", "200", "--max-objects", "500")
CORES = {0: {0, 1}, 1: {2, 3}}


@pytest.fixture(scope="module")
def prepared(bench):
    server = bench["server"]
    words = [word for link in LINKS for word in ("--bind", bench.interfaces["server"][link][1])]
    server.run(HOST_SETUP, "--hugepages", PAGES, *words, timeout=120)
    return bench


def serve(bench, link, tree, *more, instance=None):
    return Sluiced(bench["server"], [(bench.nic(link, "server"), bench.interfaces["server"][link][1])], tree.folder,
                   cache=f"{CACHE_MIB}M", arguments=(*SMALL, *more), instance=instance or link)


def hugepages_by_node(machine, pid):
    """{node: hugepages} of a process, as the kernel counts them in numa_maps."""
    counts = {}
    for line in machine.read(f"/proc/{pid}/numa_maps").decode().splitlines():
        if " huge " in f"{line} ":
            for node, pages in re.findall(r"\bN(\d+)=(\d+)", line):
                counts[int(node)] = counts.get(int(node), 0) + int(pages)
    return counts


def worker_cores(machine, pid):
    """The cores that the worker threads are pinned to."""
    script = f"for t in /proc/{pid}/task/*; do echo $(cat $t/comm) $(sed -n 's/^Cpus_allowed_list:\\s*//p' $t/status); done"
    return {int(line.split()[1]) for line in machine.shell(script).splitlines() if re.match(r"(rte-worker|lcore-worker)\S* \d+$", line)}


def download(bench, link, tree):
    name = MEDIUM
    got = bench["client"].shell(f"curl -sS --fail --max-time 120 {bench.nic(link, 'server').url(name)} | sha256sum", timeout=150).split()[0]
    return got == tree.digests[name]


def test_each_nic_is_served_from_its_own_node(prepared, tree, case):
    """Two sluiceds, one for the NIC of each node, left to choose cores and memory by themselves, both serving.

    Steps:
        Start a sluiced on the NIC of node 0 and one on the NIC of node 1, without --cores. Download from both.
    Verify:
        Each one's worker is pinned to a core of its node; its hugepages (arena and packet memory) are on that node (numa_maps);
        `nic_far_bytes` is 0 after the downloads, while bytes were sent.
    """
    server = prepared["server"]
    with serve(prepared, "virtio", tree) as first, serve(prepared, "vmxnet3", tree) as second:
        for node, link, running in ((0, "virtio", first), (1, "vmxnet3", second)):
            cores = worker_cores(server, running.pid)
            case.verify(f"{link}: its worker is on core {cores} of node {node}", cores and cores <= CORES[node], cores)
            case.verify(f"{link}: the arena is on node {node}", f"on NUMA node {node} on hugepages" in running.logged(), running.logged()[-800:])
            case.verify(f"{link}: 1 MB arrived whole", download(prepared, link, tree))
            pages = hugepages_by_node(server, running.pid)
            # DPDK's main thread is on no node; the little that it allocates for itself lies in one page of node 0.
            case.verify(f"{link}: hugepages by node: {pages}", pages.get(node, 0) >= CACHE_MIB // 2 and pages.get(1 - node, 0) <= node, pages)
            stats = running.stats()
            case.verify(f"{link}: {stats['tx_bytes']} bytes sent, none across nodes", stats["tx_bytes"] > 1_000_000 and stats["nic_far_bytes"] == 0,
                        stats["nic_far_bytes"])


def test_the_counter_sees_a_worker_on_the_wrong_node(prepared, tree, case):
    """The counter can tell: a worker that is put on the far node by hand moves every byte across.

    Steps:
        Start sluiced on the NIC of node 0 with --cores 3. Download.
    Verify:
        `nic_far_bytes` is all that was received and sent.
    """
    with serve(prepared, "virtio", tree, "--cores", "3") as running:
        case.verify("1 MB arrived whole", download(prepared, "virtio", tree))
        stats = running.stats()
        moved = stats["rx_bytes"] + stats["tx_bytes"]
        case.verify(f"{stats['nic_far_bytes']} bytes crossed nodes, of {moved}", moved * 0.99 <= stats["nic_far_bytes"] <= moved, stats["nic_far_bytes"])
