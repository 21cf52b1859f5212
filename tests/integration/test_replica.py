"""Replication between real sluiceds over the TCP stand-in, with curl on every node.

What must hold in every test here: a download is, byte for byte, one published version of its file, and its ETag is that
version's on every node; sluice copies no byte.
"""
import contextlib
import hashlib
import os
import threading
import time

import pytest

from conftest import eventually, expect_clean_end
from rig.cluster import Cluster, Etcd
from rig.content import BLOCK, Pattern
from rig.site import Setup

REGISTRIES = ["peers", pytest.param("etcd", marks=pytest.mark.skipif(not Etcd.PROGRAM, reason="needs etcd"))]


@pytest.fixture
def make_cluster():
    """Opens clusters that end with the test, and checks what each node says in the end."""
    opened = []

    def make(count=2, registry="peers", setup=Setup(workers=1), linked=True, **options):
        cluster = Cluster(count, setup, etcd=registry == "etcd", **options)
        opened.append(cluster)
        if linked:
            cluster.wait_for_links()
        return cluster

    yield make
    copied = {}
    ended = []
    try:
        for cluster in opened:
            for node in cluster.nodes:
                if node.process.poll() is None:
                    copied[f"{node.name} {node.instance}"] = node.count("replica_copied_bytes")
    finally:
        for cluster in opened:
            ended += cluster.close()
    for node, code in ended:
        expect_clean_end(code, node)
    assert not any(copied.values()), f"content was copied: {copied}"


def pattern(seed, length):
    data = Pattern(seed).read(0, length)
    return data, hashlib.sha256(data).hexdigest()


def expect_everywhere(cluster, path, digest):
    """Every node serves these bytes, under one tag."""
    tags = set()
    for node in cluster.nodes:
        status, got, tag, _ = node.fetch(path)
        assert (status, got) == (200, digest), f"{path} on {node.name}: {status} {got}"
        tags.add(tag)
    assert len(tags) == 1, f"{path} has several tags: {tags}"
    return tags.pop()


# Push and pull ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_published_file_is_served_by_every_node(make_cluster, registry):
    cluster = make_cluster(2, registry)
    data, digest = pattern("push", 21 * BLOCK + 12345)
    cluster.write(0, "a/file.bin", data)
    assert cluster[1].fetch("a/file.bin")[0] == 404
    assert "published" in cluster[0].publish("/a/file.bin")
    tag = expect_everywhere(cluster, "a/file.bin", digest)
    row = cluster[0].replica("a/file.bin")
    assert (row["copies_verified"], row["copies_asked"], row["degraded"]) == (2, 2, 0)
    assert sorted(row["verified"].split()) == ["n0", "n1"]
    assert f'"{row["etag"]}"' == tag
    assert cluster[1].count("replica_landed_tcp_bytes") == len(data)
    assert cluster[1].count("replica_disk_pieces") == cluster[1].count("replica_disk_errors"), "it has no such file"
    assert cluster[0].count("replica_written_tcp_bytes") == len(data)
    # A conditional request and a range work as with any file.
    assert cluster[1].fetch("a/file.bin", "-H", f"If-None-Match: {tag}")[0] == 304
    status, got, _, _ = cluster[1].fetch("a/file.bin", "-H", "Range: bytes=2097150-2097155")
    assert (status, got) == (206, hashlib.sha256(data[2097150:2097156]).hexdigest())


def test_files_of_every_size(make_cluster):
    cluster = make_cluster()
    sizes = [0, 1, 4095, 4096, 4097, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1, 4 * BLOCK, 5 * BLOCK + 3]
    digests = {}
    for size in sizes:
        data, digests[size] = pattern(f"size {size}", size)
        cluster.write(0, f"{size}.bin", data)
    for size in sizes:
        cluster[0].publish(f"{size}.bin")
    for size in sizes:
        expect_everywhere(cluster, f"{size}.bin", digests[size])


@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_node_that_is_to_hold_nothing_takes_it_from_a_peer(make_cluster, registry):
    cluster = make_cluster(3, registry)
    data, digest = pattern("pull", 9 * BLOCK + 1)
    cluster.write(0, "f", data)
    cluster[0].publish("f", copies=2)
    expect_everywhere(cluster, "f", digest)
    row = cluster[0].replica("f")
    assert row["copies_verified"] == 2
    outside = next(node for node in cluster.nodes if node.name not in row["holders"].split())
    assert outside.count("replica_landed_tcp_bytes") == len(data)


def test_a_chain_of_three(make_cluster):
    cluster = make_cluster(3)
    data, digest = pattern("chain", 40 * BLOCK)
    cluster.write(1, "f", data)
    cluster[1].publish("f", copies=3)
    expect_everywhere(cluster, "f", digest)
    # The publisher wrote it once: the second node passed it on.
    assert cluster[1].count("replica_written_tcp_bytes") == len(data)


def test_what_is_not_on_the_disk_cannot_be_published(make_cluster):
    cluster = make_cluster()
    for path in ("missing", "../etc/passwd", ""):
        code, out, err = cluster[0].control("publish", path, "--wait", 20)
        assert code == 5, f"{path}: {code} {out}{err}"
    assert cluster[0].listed("replicas") == []


def test_unpublished_paths_lead_to_the_disk_again(make_cluster):
    cluster = make_cluster()
    data, digest = pattern("one", 3 * BLOCK)
    cluster.write(0, "f", data)
    cluster[0].publish("f")
    expect_everywhere(cluster, "f", digest)
    code, out, err = cluster[0].control("unpublish", "f")
    assert code == 0, out + err
    eventually(lambda: cluster[1].fetch("f")[0] == 404, seconds=10)
    assert cluster[0].fetch("f")[:2] == (200, digest)
    # Let go when nobody reads it: not before 30 s after a peer last asked for a piece (replica/data_plane.h).
    eventually(lambda: all(node.count("replica_held_bytes") == 0 for node in cluster.nodes), seconds=90)


def test_clients_cannot_ask_for_the_name_of_a_generation(make_cluster):
    cluster = make_cluster()
    cluster.write(0, "f", b"x" * 5000)
    cluster[0].publish("f")
    number, publisher = cluster[0].replica("f")["generation"].split("-")
    for node in cluster.nodes:
        assert node.fetch(f"%01{number}{publisher}")[0] in (400, 404)
        assert node.fetch("%01")[0] in (400, 404)


# Generations --------------------------------------------------------------------------------------------------------------

class Downloads(threading.Thread):
    """Downloads one path of one node again and again, and keeps what came: (status, SHA-256, ETag)."""

    def __init__(self, node, path):
        super().__init__(daemon=True)
        self.node = node
        self.path = path
        self.seen = []
        self.ending = False
        self.start()

    def run(self):
        while not self.ending:
            self.seen.append(self.node.fetch(self.path)[:3])

    def end(self):
        self.ending = True
        self.join(timeout=120)
        return self.seen


@pytest.mark.parametrize("registry", REGISTRIES)
def test_no_download_mixes_generations(make_cluster, registry, quick):
    cluster = make_cluster(2, registry)
    versions = {}
    data, digest = pattern("generation 0", 5 * BLOCK + 7)
    cluster.write(0, "f", data)
    cluster[0].publish("f")
    versions[digest] = expect_everywhere(cluster, "f", digest)
    readers = [Downloads(node, "f") for node in cluster.nodes for _ in range(2)]
    for number in range(1, 6 if quick else 15):
        data, digest = pattern(f"generation {number}", (3 + number % 4) * BLOCK + number)
        cluster.write(0, "f", data)
        cluster[0].publish("f")
        # Published is published: whoever asks from now on gets the new one, within the time that a node needs to be told.
        eventually(lambda: all(node.fetch("f")[1] == digest for node in cluster.nodes), seconds=10)
        versions[digest] = expect_everywhere(cluster, "f", digest)
    seen = [each for reader in readers for each in reader.end()]
    assert len(seen) > 2 * len(versions)
    assert len(set(versions.values())) == len(versions)
    for status, digest, tag in seen:
        assert status == 200 and digest in versions, f"a mixture, or worse: {status} {digest} {tag}"
        assert versions[digest] == tag, "the bytes of one generation under the tag of another"
    assert len({digest for _, digest, _ in seen}) > len(versions) // 2


def test_the_old_generation_is_served_until_the_new_one_is_committed(make_cluster):
    cluster = make_cluster(arguments=("--replica-rate", "8M"))
    old, old_digest = pattern("old", 2 * BLOCK)
    new, new_digest = pattern("new", 32 * BLOCK)
    cluster.write(0, "f", old)
    cluster[0].publish("f")
    cluster.write(0, "f", new)
    cluster[0].publish("f", wait=0, expect=6)
    deadline = time.monotonic() + 60
    olds = 0
    while cluster[0].replica("f")["size"] == len(old):
        got = [node.fetch("f")[1] for node in cluster.nodes]
        still_old = cluster[0].replica("f")["size"] == len(old)
        if still_old:
            assert got == [old_digest, old_digest]
            olds += 1
        assert time.monotonic() < deadline, "it was never committed"
    assert olds > 3
    eventually(lambda: all(node.fetch("f")[1] == new_digest for node in cluster.nodes), seconds=10)


def test_a_published_file_is_served_after_it_changed_on_the_disk(make_cluster):
    cluster = make_cluster()
    data, digest = pattern("published", 7 * BLOCK + 100)
    path = cluster.write(0, "f", data)
    cluster[0].publish("f")
    other, other_digest = pattern("changed", 7 * BLOCK + 100)
    with open(path, "r+b") as file:
        file.write(other)
    time.sleep(2)
    expect_everywhere(cluster, "f", digest)
    path.unlink()
    time.sleep(1)
    expect_everywhere(cluster, "f", digest)
    cluster.write(0, "f", other)
    cluster[0].publish("f")
    eventually(lambda: cluster[1].fetch("f")[1] == other_digest, seconds=10)
    expect_everywhere(cluster, "f", other_digest)


def test_serving_begins_before_the_copy_is_complete(make_cluster):
    cluster = make_cluster(arguments=("--replica-rate", "16M"))
    data, digest = pattern("early", 64 * BLOCK)
    cluster.write(0, "f", data)
    cluster[0].publish("f", wait=0, expect=6)
    eventually(lambda: cluster[1].fetch("f", "-I")[0] == 200, seconds=20)
    before = cluster[1].count("replica_landed_tcp_bytes")
    assert before < len(data) // 2
    status, got, _, _ = cluster[1].fetch("f")
    assert (status, got) == (200, digest)
    rows = [row for row in cluster[1].listed("transfers") if row["path"] == "f"]
    assert all(row["bytes_done"] <= row["bytes_total"] == len(data) for row in rows)
    eventually(lambda: (cluster[0].replica("f") or {}).get("copies_verified") == 2, seconds=60)


# Failures -----------------------------------------------------------------------------------------------------------------

def half_way(node, total):
    """Waits until about a quarter has come."""
    start = node.count("replica_landed_tcp_bytes")
    eventually(lambda: node.count("replica_landed_tcp_bytes") - start > total // 4, seconds=60)


@pytest.mark.parametrize("registry", REGISTRIES)
@pytest.mark.parametrize("how", ["killed", "stopped", "cut off"])
def test_a_peer_that_goes_in_mid_transfer_comes_back_and_is_repaired(make_cluster, registry, how):
    cluster = make_cluster(2, registry, arguments=("--replica-rate", "8M"))
    data, digest = pattern("half", 40 * BLOCK)
    cluster.write(0, "f", data)
    cluster[0].publish("f", wait=0, expect=6)
    half_way(cluster[1], len(data))
    assert cluster[1].count("replica_landed_tcp_bytes") < len(data)
    away = {"killed": contextlib.nullcontext, "stopped": cluster[1].stopped, "cut off": cluster[1].cut_off}[how]
    if how == "killed":
        cluster[1].kill()
    with away():
        # One copy of two: served, but said to be less than was asked for.
        eventually(lambda: (cluster[0].replica("f") or {}).get("degraded") == 1, seconds=90)
        assert cluster[0].count("replica_degraded") == 1
        assert cluster[0].fetch("f")[:2] == (200, digest)
    if how == "killed":
        cluster[1].restart()
    eventually(lambda: cluster[0].replica("f")["copies_verified"] == 2, seconds=90)
    eventually(lambda: cluster[0].count("replica_degraded") == 0, seconds=10)
    expect_everywhere(cluster, "f", digest)


def test_publishing_without_the_peer_is_degraded_and_says_so(make_cluster):
    cluster = make_cluster(2, linked=False, start=False)
    cluster.start(0)
    data, digest = pattern("alone", 3 * BLOCK)
    cluster.write(0, "f", data)
    out = cluster[0].publish("f", wait=90, expect=4)
    assert "DEGRADED, 1 of 2 copies verified" in out
    assert cluster[0].fetch("f")[:2] == (200, digest)
    cluster.start(1)
    cluster.wait_for_links()
    eventually(lambda: cluster[0].replica("f")["copies_verified"] == 2, seconds=60)
    expect_everywhere(cluster, "f", digest)


def test_another_cluster_key_is_refused_and_counted(make_cluster):
    cluster = make_cluster(linked=False, keys=["the right key of the cluster", "another key, not the cluster's"])
    data, _ = pattern("secret", BLOCK)
    cluster.write(0, "f", data)
    eventually(lambda: any(node.count("replica_refused_peer_proof") > 0 for node in cluster.nodes), seconds=20)
    assert not any(peer["tcp"] for node in cluster.nodes for peer in node.listed("peers"))
    cluster[0].publish("f", wait=90, expect=4)
    assert cluster[1].fetch("f")[0] == 404
    assert cluster[1].count("replica_landed_tcp_bytes") == 0


def test_a_receiver_without_room_says_so(make_cluster):
    cluster = make_cluster(linked=False, start=False)
    cluster.start(0)
    cluster.start(1, ("--hold", "8M"))
    cluster.wait_for_links()
    data, digest = pattern("large", 24 * BLOCK)
    cluster.write(0, "f", data)
    cluster[0].publish("f", wait=90, expect=4)
    assert cluster[1].count("replica_held_bytes") <= 8 * BLOCK
    # It is served there all the same: what is not held is fetched.
    expect_everywhere(cluster, "f", digest)


def arena_writes(node, data, at):
    """Changes one byte of `data` wherever it stands in the node's arena, which is its largest mapping. Returns how often."""
    needle = data[at:at + 4096]
    found = 0
    with open(f"/proc/{node.pid()}/maps") as maps:
        ranges = [tuple(int(word, 16) for word in line.split()[0].split("-")) for line in maps if " rw" in line]
    start, end = max(ranges, key=lambda each: each[1] - each[0])
    with open(f"/proc/{node.pid()}/mem", "r+b", buffering=0) as memory:
        for address_ in range(start, end, BLOCK):
            memory.seek(address_)
            block = memory.read(min(BLOCK, end - address_))
            place = block.find(needle)
            while place >= 0:
                memory.seek(address_ + place + 2000)
                memory.write(bytes([needle[2000] ^ 0xFF]))
                found += 1
                place = block.find(needle, place + 1)
    return found


@pytest.mark.parametrize("size", [5 * BLOCK, 3000 + 4096])
def test_a_rotten_byte_in_held_memory_is_found_and_mended(make_cluster, size):
    cluster = make_cluster(arguments=("--scrub-rate", "1G"))
    data, digest = pattern("rot", size)
    cluster.write(0, "f", data)
    cluster[0].publish("f")
    expect_everywhere(cluster, "f", digest)
    assert arena_writes(cluster[1], data, size - 4096 - size % 512) > 0
    eventually(lambda: cluster[1].count("replica_scrub_rotten") > 0, seconds=30)
    eventually(lambda: cluster[1].fetch("f")[1] == digest, seconds=10)
    eventually(lambda: cluster[0].replica("f")["copies_verified"] == 2, seconds=30)
    expect_everywhere(cluster, "f", digest)


# The whole root -----------------------------------------------------------------------------------------------------------

def test_the_whole_root_is_kept_on_two_nodes(make_cluster):
    cluster = make_cluster(linked=False, start=False)
    digests = {}
    for number in range(12):
        data, digests[f"d{number % 3}/{number}"] = pattern(f"root {number}", number * 300_000)
        cluster.write(0, f"d{number % 3}/{number}", data)
    cluster.start(0, ("--copies", "2"))
    cluster.start(1)
    cluster.wait_for_links()

    def all_there():
        rows = {row["path"]: row for row in cluster[0].listed("replicas") if row["current"]}
        return len(rows) == len(digests) and all(row["copies_verified"] == 2 for row in rows.values())

    eventually(all_there, seconds=90)
    for path, digest in digests.items():
        expect_everywhere(cluster, path, digest)
    # A change is published by itself; what goes from the disk is unpublished.
    data, digest = pattern("root changed", 3 * BLOCK)
    cluster.write(0, "d1/4", data)
    eventually(lambda: cluster[1].fetch("d1/4")[1] == digest, seconds=30)
    (cluster.roots[0] / "d0/3").unlink()
    eventually(lambda: cluster[1].fetch("d0/3")[0] == 404, seconds=30)


@pytest.mark.skipif(not Etcd.PROGRAM, reason="needs etcd")
def test_with_etcd_the_whole_cluster_may_start_again(make_cluster):
    cluster = make_cluster(2, "etcd")
    data, digest = pattern("again", 6 * BLOCK)
    cluster.write(0, "f", data)
    cluster[0].publish("f")
    tag = expect_everywhere(cluster, "f", digest)
    for node in cluster.nodes:
        assert node.stop() == 0
    for node in cluster.nodes:
        node.restart()
    cluster.wait_for_links()
    eventually(lambda: (cluster[1].replica("f") or {}).get("copies_verified") == 2, seconds=60)
    assert expect_everywhere(cluster, "f", digest) == tag


# What costs nothing -------------------------------------------------------------------------------------------------------

def test_without_a_name_replication_is_off(tap_site):
    code = 0
    try:
        tap_site.sluicectl("replicas")
    except AssertionError as error:
        code, said = 1, str(error)
    assert code == 1 and "replication is off" in said
    assert not any(name.startswith("sluice-replica") for name in thread_names(tap_site.pid()))


def thread_names(pid):
    return [open(f"/proc/{pid}/task/{task}/comm").read().strip() for task in os.listdir(f"/proc/{pid}/task")]
