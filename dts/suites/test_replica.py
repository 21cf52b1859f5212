"""Replica: two whole sluiceds that keep each other's files over RDMA (soft-RoCE), clients on both; nodes, networks and devices that go.

What must hold in every case: what a client gets is, byte for byte, what was published, under one ETag on both nodes; sluice copies no
byte. Losses of a packet or of a byte are the simulation's matter (tests/sim/replication).
"""
import signal
import time

import pytest

from testbed.checks import eventually
from testbed.cluster import PATIENCE, Cluster, Moved, wait_for_quarter

TOPOLOGY = "replica2"
MIB = 1 << 20
SIZE = 64 * MIB  # both ways
PART = 32 * MIB  # where something happens in the middle
SMALL = 8 * MIB  # which way it goes
# So that a case can do something in the middle of a transfer, on fast machines as well.
RATE = ("--replica-rate", "3M")


@pytest.fixture(scope="module")
def cluster(bench):
    """Both machines with an rxe device; cases start the nodes."""
    made = Cluster(bench)
    for name in bench.machines:
        made.load_rdma(name)
    yield made
    if bench.is_whole():
        made.close()


def verify_way(cluster, case, path, over):
    """Some MiB that alpha publishes come to beta over one transport alone, and are served by both."""
    alpha, beta = cluster["alpha"], cluster["beta"]
    digest = alpha.make(path, SMALL // MIB)
    moved = Moved(beta)
    status, said = alpha.publish(path, 2)
    came = moved.landed()
    case.verify(f"{SMALL // MIB} MiB came over {over} alone", status == 0 and came == ((SMALL, 0) if over == "RDMA" else (0, SMALL)),
                (status, said, came, cluster.peers()))
    cluster.verify_served(case, path, digest)
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", alpha.unpublish(path) == 0)


def begin(cluster, case, path):
    """alpha publishes 32 MiB; returns when a quarter has come to beta, with (the digest, what moved at beta)."""
    alpha, beta = cluster["alpha"], cluster["beta"]
    digest = alpha.make(path, PART // MIB)
    moved = Moved(beta)
    status, said = alpha.publish(path, 2, wait=0)
    case.verify("publishing is under way (exit status 6)", status == 6, said)
    came = wait_for_quarter(beta, moved, PART)
    case.verify(f"{came // MIB} of {PART // MIB} MiB have come", came < PART, came)
    return digest, moved


def verify_whole(cluster, case, path):
    alpha = cluster["alpha"]
    case.verify("2 of 2 copies verified, with nothing more said to anybody",
                eventually(lambda: alpha.replica(path).get("copies_verified") == 2, PATIENCE),
                (alpha.listed("replicas"), alpha.listed("transfers"), cluster.peers()))
    case.verify("not degraded", eventually(lambda: alpha.stats()["replica_degraded"] == 0, 60), alpha.listed("replicas"))


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
    digest = source.make(path, SIZE // MIB)
    at_source, at_other = Moved(source), Moved(other)
    status, said = source.publish(path, 2)
    took = at_source.seconds()
    case.verify(f"{source.name} published it, 2 of 2 copies verified", status == 0, (status, said, cluster.peers()))
    case.note(f"{SIZE // MIB} MiB in {took:.1f} s, held to 3 MiB/s")
    landed, written = at_other.landed(), at_source.written()
    case.verify("64 MiB landed over RDMA, none over TCP", landed == (SIZE, 0), (landed, cluster.peers()))
    case.verify("64 MiB were written over RDMA, none over TCP", written == (SIZE, 0), written)
    case.verify("sluicectl peers counts them, and says that RDMA is used",
                other.peer(source)["bytes_from"] >= SIZE and other.peer(source)["over"] == "rdma" and not other.peer(source)["why_no_rdma"],
                cluster.peers())
    case.verify(f"{other.name} has no such file on its disk", not other.has_on_disk(path))
    cluster.verify_served(case, path, digest)
    case.verify("the links over RDMA are still up", cluster.links_are(rdma=1), cluster.peers())
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", source.unpublish(path) == 0)
    case.verify(f"{other.name} has it no more", eventually(lambda: other.fetch(path)[0] == 404, 60))


def test_a_node_killed_in_mid_transfer_is_repaired(cluster, case):
    """SIGKILL to the receiver in the middle of 32 MiB: DEGRADED, and served; started again, it is filled over RDMA without being told to.

    Steps:
        Publish, without waiting. When a quarter has come, SIGKILL to the receiver. Start it again.
    Verify:
        While it is away: degraded, one copy verified, the source's bytes. Afterwards two copies verified, not degraded, both serve the
        source's bytes; all of them came over RDMA, though TCP is up first.
    """
    cluster.start("--rdma", "auto", *RATE)
    alpha, beta, path = cluster["alpha"], cluster["beta"], "half.bin"
    cluster.verify_links(case, "each has a link over RDMA to the other", rdma=1)
    digest, _ = begin(cluster, case, path)
    beta.kill()
    case.verify("alpha says that it is degraded", eventually(lambda: alpha.replica(path).get("degraded") == 1, PATIENCE),
                alpha.listed("replicas"))
    row = alpha.replica(path)
    case.verify("1 of 2 copies verified", (row["copies_verified"], row["copies_asked"]) == (1, 2), row)
    case.verify("replica_degraded is 1", alpha.stats()["replica_degraded"] == 1)
    case.verify("alpha serves it", alpha.fetch(path)[:2] == (200, digest))
    cluster.start_node(beta)
    verify_whole(cluster, case, path)
    stats = beta.stats()
    came = stats["replica_landed_rdma_bytes"], stats["replica_landed_tcp_bytes"]
    case.note(f"{stats['replica_rdma_waits']} pieces waited for the link over RDMA")
    case.verify("beta got all of it anew, over RDMA alone", came == (PART, 0), (came, cluster.peers()))
    cluster.verify_served(case, path, digest)
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", alpha.unpublish(path) == 0)


def test_a_node_that_stands_still(cluster, case):
    """SIGSTOP to the receiver in the middle of 32 MiB, for longer than a peer is waited for: nothing is lost, and it ends whole.

    Steps:
        Publish, without waiting. When a quarter has come, SIGSTOP; after the source has seen that it is silent, SIGCONT.
    Verify:
        The source closes its links, and serves on. Afterwards RDMA is up again, two copies verified, both serve the source's bytes.
    """
    cluster.start("--rdma", "auto", *RATE)
    alpha, beta, path = cluster["alpha"], cluster["beta"], "still.bin"
    cluster.verify_links(case, "each has a link over RDMA to the other", rdma=1)
    digest, moved = begin(cluster, case, path)
    beta.sluiced.signal(signal.SIGSTOP)
    try:
        case.verify("alpha sees that beta is silent", eventually(lambda: alpha.peer(beta).get("alive") == 0, PATIENCE), alpha.listed("peers"))
        case.verify("alpha serves it", alpha.fetch(path)[:2] == (200, digest))
    finally:
        beta.sluiced.signal(signal.SIGCONT)
    verify_whole(cluster, case, path)
    cluster.verify_links(case, "RDMA is up again", rdma=1)
    case.note(f"over RDMA and TCP: {[bytes / MIB for bytes in moved.landed()]} MiB")
    cluster.verify_served(case, path, digest)
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", alpha.unpublish(path) == 0)


def test_tcp_takes_over_where_roce_is_lost(cluster, case):
    """A network that loses every frame of RoCE in the middle of 32 MiB: TCP ends the transfer, and gives back when RoCE passes again.

    Steps:
        `--rdma auto`. Publish, without waiting; when a quarter has come, drop what arrives at beta for UDP port 4791. When all has come,
        let it pass again, and publish 8 MiB more.
    Verify:
        The links over RDMA end, those over TCP stay; the rest comes over TCP, whole. Then RDMA is up again, and the 8 MiB come over it alone.
    """
    cluster.start("--rdma", "auto", *RATE)
    alpha, beta, path = cluster["alpha"], cluster["beta"], "lost.bin"
    cluster.verify_links(case, "each has links over RDMA and over TCP to the other", rdma=1, tcp=1)
    cluster.watch_arrivals("beta")
    try:
        digest, moved = begin(cluster, case, path)
        cluster.lose_roce("beta")
        took = cluster.verify_links(case, "the links over RDMA end, those over TCP stay", rdma=0, tcp=1)
        case.note(f"seen on both after {took:.0f} s")
        verify_whole(cluster, case, path)
        case.verify("frames of RoCE were lost", cluster.frames_lost("beta") > 0)
        came = moved.landed()
        case.note(f"{came[0] / MIB:.0f} MiB came over RDMA, {came[1] / MIB:.0f} MiB over TCP")
        case.verify("a part came over each", came[0] > 0 and came[1] > 0 and sum(came) >= PART, came)
        cluster.verify_served(case, path, digest)
        case.verify("RDMA is still down", cluster.links_are(rdma=0), cluster.peers())
        why = beta.peer(alpha)["why_no_rdma"]
        case.verify("sluicectl peers says over what, and why not over RDMA", beta.peer(alpha)["over"] == "tcp" and why, cluster.peers())
        case.note(f"why not RDMA: {why}")
    finally:
        cluster.find_roce("beta")
    took = cluster.verify_links(case, "RDMA is up again once its frames pass", rdma=1)
    case.note(f"after {took:.0f} s")
    case.verify("no transport is paused any more", eventually(lambda: not beta.peer(alpha)["why_no_rdma"], 60), cluster.peers())
    verify_way(cluster, case, "found.bin", "RDMA")
    case.verify("unpublished", alpha.unpublish(path) == 0)


def test_a_device_is_taken_away_and_put_back(cluster, case):
    """`rdma link delete` under a running sluiced, in the middle of 32 MiB: the kernel has it at once, TCP goes on; the device comes back, RDMA too.

    Steps:
        `--rdma auto`. Publish, without waiting; when a quarter has come, delete beta's rxe device. When all has come, add it again.
    Verify:
        The deletion ends within seconds, though rxe cannot be taken from who has it open. Links over RDMA end, those over TCP stay, and the rest
        comes over them. sluicectl says why. With the device back, RDMA is up by itself, and 8 MiB come over it alone. Both twice.
    """
    cluster.start("--rdma", "auto", *RATE)
    alpha, beta, path = cluster["alpha"], cluster["beta"], "taken.bin"
    cluster.verify_links(case, "each has links over RDMA and over TCP to the other", rdma=1, tcp=1)
    digest, moved = begin(cluster, case, path)
    took = cluster.delete_device("beta")
    case.verify("the device is gone, and the kernel did not wait for sluiced to end", took is not None, beta.sluiced.logged()[-1500:])
    case.note(f"rdma link delete took {took:.1f} s")
    cluster.verify_links(case, "the links over RDMA end, those over TCP stay", rdma=0, tcp=1)
    verify_whole(cluster, case, path)
    case.note("over RDMA and TCP: {:.0f} and {:.0f} MiB".format(*(bytes / MIB for bytes in moved.landed())))
    cluster.verify_served(case, path, digest)
    for times in (1, 2):
        case.verify("sluicectl peers says that there is no device", "no RDMA device" in beta.peer(alpha)["why_no_rdma"], cluster.peers())
        case.verify("and so does a counter", beta.stats()["replica_rdma_devices"] == 0)
        cluster.add_device("beta")
        took = cluster.verify_links(case, "the device is back, and links over RDMA with it", rdma=1)
        case.note(f"after {took:.0f} s")
        case.verify("the counter has it", beta.stats()["replica_rdma_devices"] == 1)
        verify_way(cluster, case, f"given{times}.bin", "RDMA")
        if times == 2:
            break
        took = cluster.delete_device("beta")
        case.verify("it is taken away once more", took is not None, beta.sluiced.logged()[-1500:])
        cluster.verify_links(case, "the links over RDMA end", rdma=0, tcp=1)
        verify_way(cluster, case, "tcp.bin", "TCP")
    case.verify("unpublished", alpha.unpublish(path) == 0)


def test_a_node_started_without_a_device_takes_it_when_it_comes(cluster, case):
    """Without an RDMA device `--rdma required` refuses to start, and `--rdma auto` means TCP until a device comes.

    Steps:
        End beta; delete its device; start it with `--rdma required`, then with auto; publish 8 MiB on alpha. Add the device; 8 MiB more.
    Verify:
        required: an error that names --rdma. auto: no RDMA link, the bytes come over TCP, whole. Afterwards over RDMA.
    """
    cluster.start("--rdma", "auto", *RATE)
    beta = cluster["beta"]
    case.verify("beta ends with exit status 0", beta.stop() == 0)
    case.verify("its device is gone", cluster.delete_device("beta") is not None)
    with pytest.raises(AssertionError) as refused:
        beta.start("--rdma", "required", *RATE)
    case.verify("--rdma required refuses to start, and says why", "ended with" in str(refused.value) and "--rdma" in str(refused.value),
                str(refused.value)[-600:])
    cluster.start_node(beta)
    cluster.verify_links(case, "--rdma auto: links over TCP, none over RDMA", rdma=0, tcp=1)
    verify_way(cluster, case, "none.bin", "TCP")
    cluster.add_device("beta")
    took = cluster.verify_links(case, "its device comes, and links over RDMA with it", rdma=1)
    case.note(f"after {took:.0f} s")
    verify_way(cluster, case, "came.bin", "RDMA")


def test_a_node_with_another_key_is_refused(cluster, case):
    """A node that has not the cluster key gets no link over either transport, and no byte; with the key, it is filled.

    Steps:
        Start beta with another key; publish 8 MiB with two copies. Start it with the right key.
    Verify:
        No link. A refusal is counted; publishing is DEGRADED (exit status 4); beta has nothing. Then two copies verified.
    """
    cluster.start("--rdma", "auto", *RATE)
    alpha, beta, path = cluster["alpha"], cluster["beta"], "secret.bin"
    case.verify("beta ends with exit status 0", beta.stop() == 0)
    before = alpha.stats()
    cluster.start_node(beta, key="not the key of the testbed's cluster")
    refused = "replica_refused_peer_proof"
    case.verify("refusals are counted", eventually(lambda: alpha.stats()[refused] > before[refused] or beta.stats()[refused] > 0, 60),
                (alpha.listed("peers"), beta.listed("peers")))
    digest = alpha.make(path, SMALL // MIB)
    status, said = alpha.publish(path, 2)
    case.verify("DEGRADED: exit status 4", status == 4, (status, said))
    case.verify("beta has no peer", beta.stats()["replica_peers_up"] == 0 and alpha.stats()["replica_peers_up"] == 0, cluster.peers())
    case.verify("beta serves 404", beta.fetch(path)[0] == 404)
    case.verify("beta ends with exit status 0", beta.stop() == 0)
    cluster.start_node(beta)
    verify_whole(cluster, case, path)
    cluster.verify_served(case, path, digest)
    case.verify("unpublished", alpha.unpublish(path) == 0)


def test_a_receiver_without_room(cluster, case):
    """A node that may not hold as much: DEGRADED at once, never a part; its clients are served through it all the same.

    Steps:
        Start beta with `--hold 16M`; publish 32 MiB with two copies.
    Verify:
        DEGRADED (exit status 4), one copy verified. Both serve the source's bytes: beta fetches what is asked for from alpha's memory.
    """
    cluster.start("--rdma", "auto", *RATE)
    alpha, beta, path = cluster["alpha"], cluster["beta"], "large.bin"
    case.verify("beta ends with exit status 0", beta.stop() == 0)
    cluster.start_node(beta, hold="16M")
    cluster.verify_links(case, "each has a link over RDMA to the other", rdma=1)
    digest = alpha.make(path, PART // MIB)
    moved = Moved(beta)
    status, said = alpha.publish(path, 2)
    case.verify("DEGRADED: exit status 4", status == 4, (status, said))
    case.verify("1 of 2 copies verified", alpha.replica(path).get("copies_verified") == 1, alpha.listed("replicas"))
    case.verify("beta holds no more than it may", beta.stats()["replica_held_bytes"] <= 16 * MIB, beta.stats()["replica_held_bytes"])
    cluster.verify_served(case, path, digest)
    case.verify("over RDMA", moved.landed()[0] >= PART and moved.landed()[1] == 0, moved.landed())
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", alpha.unpublish(path) == 0)
    case.verify("beta ends with exit status 0", beta.stop() == 0)


@pytest.mark.timeout(1800)
def test_160_mib(cluster, case):
    """A larger object: 160 MiB over RDMA, served by both."""
    cluster.start("--rdma", "required", hold="180M")
    alpha, beta, path = cluster["alpha"], cluster["beta"], "huge.bin"
    cluster.verify_links(case, "each has a link over RDMA to the other", rdma=1)
    digest = alpha.make(path, 160)
    moved, started = Moved(beta), time.monotonic()
    status, said = alpha.publish(path, 2, wait=600)
    case.verify("published, 2 of 2 copies verified", status == 0, (status, said, cluster.peers()))
    case.note(f"160 MiB in {time.monotonic() - started:.0f} s")
    case.verify("160 MiB landed over RDMA, none over TCP", moved.landed() == (160 * MIB, 0), moved.landed())
    cluster.verify_served(case, path, digest)
    cluster.verify_nothing_copied(case)
    case.verify("unpublished", alpha.unpublish(path) == 0)


def test_the_nodes_end_well(cluster, case):
    """SIGTERM ends both nodes: exit status 0."""
    cluster.start(*(cluster.arguments or ("--rdma", "auto")), **cluster.options)
    codes = cluster.stop()
    case.verify("exit status 0 of both", codes == {"alpha": 0, "beta": 0}, codes)
