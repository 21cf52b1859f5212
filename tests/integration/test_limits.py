"""What sluiced does for and against clients, seen by the kernel's own TCP: Fast Open, paths that swallow large packets,
limits of one source, SYN cookies, new clients while it drains."""
import signal
import socket
import time

import pytest

from conftest import REFERENCE, eventually
from rig.client import Connection, request
from rig.content import sha256
from rig.site import Setup
from rig.stats import total

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="about sluice's own limits")

MSG_FASTOPEN = 0x20000000


def test_fast_open_with_the_kernels_client(make_site, tree, family):
    """The first connection brings a cookie, the others their request in the SYN, whichever worker gets them."""
    site = make_site(Setup(workers=2, arguments=("--fast-open",)))
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    for _ in range(11):
        with site.client.socket(kind) as raw:
            raw.sendto(request("/hello.txt"), MSG_FASTOPEN, (site.host(family).strip("[]"), 80))
            raw.settimeout(10)
            assert Connection(raw).read_response().status == 200
    stats = site.stats()
    assert total(stats, "tcp_fast_open_cookies_given") >= 1
    assert total(stats, "tcp_fast_open_accepted") >= 8
    assert total(stats, "tcp_fast_open_cookies_bad") == 0


def test_fast_open_is_off_unless_asked_for(make_site, tree):
    site = make_site(Setup())
    for _ in range(3):
        with site.client.socket() as raw:
            raw.sendto(request("/hello.txt"), MSG_FASTOPEN, (site.host(4), 80))
            raw.settimeout(10)
            assert Connection(raw).read_response().status == 200
    assert total(site.stats(), "tcp_fast_open_accepted") == 0


@pytest.mark.parametrize("carries", [1300, 1450])
def test_a_path_that_swallows_large_packets(make_site, tree, family, carries):
    site = make_site(Setup())
    site.client.filter("input", f"tcp sport 80 meta length > {carries} drop")
    got = site.curl(site.url("medium.bin", family), timeout=60).stdout
    assert sha256(got) == tree.digests["medium.bin"]
    assert total(site.stats(), "tcp_path_black_holes") >= 1


def test_connections_of_one_source(make_site, tree):
    site = make_site(Setup(workers=1, arguments=("--max-connections-per-source", "3")))
    held = [site.connect() for _ in range(3)]
    with pytest.raises(OSError):
        site.connect(timeout=2)
    assert total(site.stats(), "tcp_drop_source_connections") >= 1
    assert site.exchange(request("/hello.txt"), family=6).status == 200
    held.pop().close()
    assert eventually(lambda: total(site.stats(), "tcp_connections") == 2)
    assert site.exchange(request("/hello.txt")).status == 200
    for connection in held:
        connection.close()


def test_a_new_client_is_refused_at_once_while_draining(make_site, tree):
    """With two workers: also the one that has never heard of the client resets it, and does not let it wait."""
    site = make_site(Setup(workers=2))
    slow = site.connect(receive_buffer=4096)
    slow.send(request("/medium.bin"))
    time.sleep(0.2)
    site.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    for _ in range(20):
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            site.connect(timeout=5)
        assert time.monotonic() - began < 0.5
    slow.close()
    assert site.process.wait(timeout=40) == 0
