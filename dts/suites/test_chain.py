"""Chain: four whole sluiceds over RDMA (soft-RoCE): the publisher writes a file once, and each next node passes it on."""
import pytest

from testbed.checks import eventually
from testbed.cluster import Cluster, Moved

TOPOLOGY = "replica4"
MIB = 1 << 20
SIZE = 16 * MIB


@pytest.fixture(scope="module")
def cluster(bench):
    made = Cluster(bench)
    for name in bench.machines:
        made.load_rdma(name)
    made.start("--rdma", "required", cache="128M")
    yield made
    if bench.is_whole():
        made.close()


@pytest.mark.parametrize("publisher, copies", [("alpha", 3), ("delta", 4)])
def test_16_mib_go_along_a_chain(cluster, case, publisher, copies):
    """16 MiB on three nodes of four, then on four: each copy comes over RDMA, and each node writes it once at most.

    Steps:
        Four sluiceds with `--rdma required`. A new file on one; `sluicectl publish --copies N --wait`; curl on all four.
    Verify:
        Links over RDMA between all. 16 MiB landed over RDMA on each node that is to hold it, none over TCP; the publisher wrote them once, each
        node of the chain but the last once. All four serve the source's SHA-256 under one ETag. Nothing was copied.
    """
    source, path = cluster[publisher], f"{publisher}.bin"
    cluster.verify_links(case, "each has a link over RDMA to each other", rdma=1)
    digest = source.make(path, SIZE // MIB)
    moved = {node.name: Moved(node) for node in cluster.nodes}
    status, said = source.publish(path, copies, wait=400)
    took = moved[publisher].seconds()
    case.verify(f"published, {copies} of {copies} copies verified", status == 0, (status, said, cluster.peers()))
    case.note(f"{SIZE // MIB} MiB to {copies - 1} others in {took:.1f} s")
    landed = {name: each.landed() for name, each in moved.items()}
    written = {name: each.written() for name, each in moved.items()}
    receivers = [name for name, came in landed.items() if sum(came)]
    case.verify(f"they landed on {copies - 1} others, over RDMA, none over TCP",
                len(receivers) == copies - 1 and all(landed[name] == (SIZE, 0) for name in receivers), landed)
    case.verify("the publisher wrote them once, and each of the chain but its last",
                sorted(written.values()) == sorted([(SIZE, 0)] * (copies - 1) + [(0, 0)] * (5 - copies)) and written[publisher] == (SIZE, 0),
                written)
    case.verify("no other has such a file on its disk", not any(node.has_on_disk(path) for node in cluster.nodes if node is not source))
    cluster.verify_served(case, path, digest)
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", source.unpublish(path) == 0)
    others = [node for node in cluster.nodes if node is not source]
    case.verify("the others have it no more", eventually(lambda: all(node.fetch(path)[0] == 404 for node in others), 60))


def test_the_nodes_end_well(cluster, case):
    """SIGTERM ends all nodes: exit status 0."""
    codes = cluster.stop()
    case.verify("exit status 0 of all", set(codes.values()) == {0} and len(codes) == 4, codes)
