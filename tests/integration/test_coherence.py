"""A file that changes while it is sent: the old version ends whole, or the connection is cut. Never a mixture."""
import os
import time

import pytest

from conftest import REFERENCE, eventually
from rig.client import Closed, request
from rig.content import BLOCK, Pattern
from rig.site import Setup

SIZE = 48 * BLOCK
OLD, NEW = Pattern("old"), Pattern("new")

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="only sluice promises this")


def replace(path):
    fresh = path.with_suffix(".fresh")
    NEW.write(fresh, SIZE)
    os.rename(fresh, path)


def rewrite(path):
    with open(path, "r+b", buffering=0) as file:
        for number in range(SIZE // BLOCK):
            file.write(NEW.block(number))


def truncate(path):
    os.truncate(path, SIZE // 4)


def truncate_and_write(path):
    NEW.write(path, SIZE)  # O_TRUNC first


def remove(path):
    path.unlink()


def append(path):
    with open(path, "ab") as file:
        file.write(b"more")


CHANGES = [replace, rewrite, truncate, truncate_and_write, remove, append]


@pytest.fixture(scope="module")
def changing(tree):
    """A directory of the served tree whose files these tests change."""
    folder = tree.root / "changing"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def small_cache_site(tree):
    """The cache is smaller than the file, so that it must be read again while it is sent."""
    from rig.site import open_site
    site = open_site(Setup(cache="32M"), tree.root)
    yield site
    site.close()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("readers", [1, 8])
def test_a_change_while_sending_never_mixes(small_cache_site, changing, change, readers):
    site = small_cache_site
    path = changing / f"{change.__name__}-{readers}.bin"
    OLD.write(path, SIZE)
    time.sleep(0.1)
    target = f"/changing/{path.name}"
    connections = [site.connect(timeout=30, receive_buffer=65536) for _ in range(readers)]
    etags = []
    for connection in connections:
        connection.send(request(target, Connection="close"))
    for connection in connections:
        head = connection.read_head()
        assert head.status == 200 and int(head.get("Content-Length")) == SIZE
        etags.append(head.get("ETag"))
    assert len(set(etags)) == 1
    change(path)
    cut = 0
    for connection in connections:
        received = len(connection.buffer)
        position = 0
        data = bytes(connection.buffer)
        while True:
            assert OLD.matches(position, data), f"bytes of another version near {position}"
            position += len(data)
            try:
                data = connection.socket.recv(1 << 18)
            except ConnectionResetError:
                break
            if not data:
                break
        assert position <= SIZE
        received = position
        cut += received < SIZE
        connection.close()
    print(f"{change.__name__}: {cut} of {readers} were cut")


@pytest.mark.parametrize("change", [replace, rewrite, truncate_and_write], ids=lambda change: change.__name__)
def test_new_requests_soon_get_the_new_version(small_cache_site, changing, change):
    site = small_cache_site
    path = changing / f"next-{change.__name__}.bin"
    OLD.write(path, SIZE)
    time.sleep(0.1)
    target = f"/changing/{path.name}"
    before = site.exchange(request(target, Range="bytes=0-4095"))
    assert OLD.matches(0, before.body)
    change(path)

    def new_version():
        """the new version being served"""
        response = site.exchange(request(target, Range="bytes=4096-8191"))
        old, new = OLD.matches(4096, response.body), NEW.matches(4096, response.body)
        assert old != new
        assert (response.get("ETag") == before.get("ETag")) == old
        return new

    eventually(new_version, seconds=3)
    whole = site.exchange(request(target), timeout=60)
    assert NEW.matches(0, whole.body) and len(whole.body) == SIZE


def test_a_removed_file_is_soon_absent(small_cache_site, changing):
    path = changing / "removed.txt"
    path.write_bytes(b"here")
    time.sleep(0.1)
    assert small_cache_site.exchange(request("/changing/removed.txt")).body == b"here"
    path.unlink()
    eventually(lambda: small_cache_site.exchange(request("/changing/removed.txt")).status == 404, seconds=3)


def test_a_file_rewritten_all_the_time_is_never_mixed(small_cache_site, changing):
    """Small files, packed in shared chunks, rewritten in place every few milliseconds."""
    import threading
    path = changing / "busy.bin"
    size = 3 * 4096 + 100
    path.write_bytes(bytes(size))
    stopped = threading.Event()

    def writer():
        value = 0
        while not stopped.is_set():
            value = (value + 1) % 256
            with open(path, "r+b", buffering=0) as file:
                file.write(bytes([value]) * size)
            time.sleep(0.003)

    thread = threading.Thread(target=writer)
    thread.start()
    seen = set()
    try:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                response = small_cache_site.exchange(request("/changing/busy.bin"), timeout=5)
            except (Closed, ConnectionResetError):
                continue
            if response.status == 200 and response.complete:
                assert len(set(response.body)) == 1, "bytes of two versions in one response"
                seen.add(response.body[0])
            else:
                assert response.status in (200, 503), response.status
    finally:
        stopped.set()
        thread.join()
    print(f"{len(seen)} versions seen")
