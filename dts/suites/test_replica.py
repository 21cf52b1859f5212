"""Replica: two whole sluiceds that keep each other's files over RDMA (soft-RoCE), clients on both."""
import pytest

from testbed.checks import eventually
from testbed.cluster import Cluster, Moved

TOPOLOGY = "replica2"
MIB = 64
SIZE = MIB << 20
RATE = ("--replica-rate", "8M")


@pytest.fixture(scope="module")
def cluster(bench):
    """Both machines with an rxe device; cases start the nodes."""
    made = Cluster(bench)
    for name in bench.machines:
        made.load_rdma(name)
    yield made
    if bench.is_whole():
        made.close()


@pytest.mark.parametrize("source, other", [("alpha", "beta"), ("beta", "alpha")])
def test_64_mib_go_over_rdma(cluster, case, source, other):
    """64 MiB that one node publishes are written into the other's memory over RDMA, all of them, and served by both.

    Steps:
        Two sluiceds with `--rdma required`. A new file on one; `sluicectl publish --copies 2 --wait`; curl on both; `sluicectl unpublish`.
    Verify:
        Links over RDMA. Both serve the source's SHA-256 under one ETag; the other has no such file on its disk. 64 MiB were written and
        landed over RDMA, nothing over TCP; nothing was copied. Afterwards the other says 404.
    """
    cluster.start("--rdma", "required", *RATE)
    source, other, path = cluster[source], cluster[other], f"{source}.bin"
    cluster.verify_links(case, "each has a link over RDMA to the other", rdma=1)
    digest = source.make(path, MIB)
    at_source, at_other = Moved(source), Moved(other)
    status, said = source.publish(path, 2)
    took = at_source.seconds()
    case.verify(f"{source.name} published it, 2 of 2 copies verified", status == 0, (status, said, cluster.peers()))
    case.note(f"{MIB} MiB in {took:.1f} s, held to 8 MiB/s")
    rows = ("replica_landed_rdma_bytes", "replica_landed_tcp_bytes", "replica_written_rdma_bytes", "replica_written_tcp_bytes")
    landed, written = at_other.read(*rows), at_source.read(*rows)
    case.verify("64 MiB landed over RDMA, none over TCP", (landed[rows[0]], landed[rows[1]]) == (SIZE, 0), landed)
    case.verify("64 MiB were written over RDMA, none over TCP", (written[rows[2]], written[rows[3]]) == (SIZE, 0), written)
    case.verify("sluicectl peers counts them", other.peer(source)["bytes_from"] >= SIZE, cluster.peers())
    case.verify(f"{other.name} has no such file on its disk", not other.has_on_disk(path))
    cluster.verify_served(case, path, digest)
    case.verify("the links over RDMA are still up", cluster.links_are(rdma=1), cluster.peers())
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", source.unpublish(path) == 0)
    case.verify(f"{other.name} has it no more", eventually(lambda: other.fetch(path)[0] == 404, 60))
