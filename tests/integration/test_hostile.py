"""Clients that mean harm, or are broken. Others are served meanwhile; afterwards everything is back at zero."""
import os
import random
import socket
import struct
import threading
import time

import pytest

from conftest import REFERENCE, eventually
from rig.client import Closed, request
from rig.content import sha256
from rig.raw import Injector, neighbor_mac, tcp_segment
from rig.site import CLIENT, SERVER
from rig.stats import AT_REST, total

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Bystander:
    """A well-behaved client that downloads all the while and must not notice."""

    def __init__(self, site, tree):
        self.site = site
        self.expected = tree.read("sizes/102400.bin")
        self.served = 0
        self.slowest = 0.0
        self.error = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self.stopped.is_set():
                started = time.monotonic()
                response = self.site.exchange(request("/sizes/102400.bin"), timeout=5)
                assert response.status == 200 and response.body == self.expected
                self.slowest = max(self.slowest, time.monotonic() - started)
                self.served += 1
                time.sleep(0.01)
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        # An attack may last milliseconds; what it leaves behind must not hurt either.
        deadline = time.monotonic() + 10
        while self.served < 3 and self.thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.stopped.set()
        self.thread.join()
        if kind is None:
            assert self.error is None, f"a bystander was not served: {self.error!r}"
            assert self.served >= 3
            assert self.slowest < 2, f"a bystander waited {self.slowest:.1f} s"


@pytest.fixture(autouse=True)
def back_to_zero(request):
    """After the test nothing is left of its clients: no connection, no pin, no buffer."""
    if REFERENCE:
        yield
        return
    site = request.getfixturevalue("checked_site")
    yield
    site.client.filter("input")

    def at_rest():
        """everything back at zero"""
        stats = site.stats()
        at_rest.left = {name: total(stats, name) for name in AT_REST}
        return not any(at_rest.left.values())

    try:
        eventually(at_rest, seconds=20)
    except AssertionError:
        pytest.fail(f"left behind: { {k: v for k, v in at_rest.left.items() if v} }")


def drop_resets(site):
    """The client's kernel answers what it does not know with a reset; a hostile client's does not."""
    site.client.filter("output", "tcp flags & rst == rst drop")


def link_of(site):
    return "sl0" if site.setup.port == "tap" else "client0"


def test_half_open_connections(checked_site, tree):
    site = checked_site
    site.exchange(request("/hello.txt"))
    drop_resets(site)
    injector = Injector(site, link_of(site), neighbor_mac(site))
    with Bystander(site, tree):
        for round_number in range(5):
            for number in range(2000):
                injector.send_ipv4(tcp_segment(CLIENT[4], SERVER[4], source_port=1024 + number, sequence=round_number))
            time.sleep(0.2)
    injector.close()
    # Give them up now instead of waiting for their retransmissions to run out.
    site.client.filter("input")
    for _ in range(3):
        time.sleep(1.1)


def test_syns_from_stations_that_do_not_exist(checked_site, tree):
    site = checked_site
    site.exchange(request("/hello.txt"))
    injector = Injector(site, link_of(site), neighbor_mac(site))
    with Bystander(site, tree):
        for number in range(5000):
            source = f"10.9.0.{10 + number % 200}"
            injector.send_ipv4(tcp_segment(source, SERVER[4], source_port=1024 + number))
    injector.close()


def test_segments_of_no_connection(checked_site, tree):
    """Every combination of flags, with and without data, to ports open and closed."""
    site = checked_site
    site.exchange(request("/hello.txt"))
    drop_resets(site)
    injector = Injector(site, link_of(site), neighbor_mac(site))
    with Bystander(site, tree):
        for flags in range(256):
            for port in (80, 81):
                for payload in (b"", b"x" * 100):
                    injector.send_ipv4(tcp_segment(
                        CLIENT[4], SERVER[4], source_port=2000 + flags, port=port, flags=flags & ~0x02,
                        acknowledgment=12345, payload=payload))
    injector.close()


def test_mangled_segments(checked_site, tree):
    """Valid handshakes' frames with bytes changed, lengths wrong, options cut."""
    site = checked_site
    site.exchange(request("/hello.txt"))
    drop_resets(site)
    injector = Injector(site, link_of(site), neighbor_mac(site))
    chance = random.Random(3)
    with Bystander(site, tree):
        for number in range(4000):
            options = bytes(chance.randrange(256) for _ in range(chance.randrange(0, 40)))
            packet = bytearray(tcp_segment(
                CLIENT[4], SERVER[4], source_port=3000 + number % 1000, flags=chance.choice([2, 16, 18, 24, 17, 4, 0xFF]),
                options=options[:36], payload=bytes(chance.randrange(0, 200))))
            for _ in range(chance.randrange(0, 4)):
                packet[chance.randrange(len(packet))] = chance.randrange(256)
            injector.send_ipv4(bytes(packet[:chance.randrange(1, len(packet) + 1)]))
            injector.send(os.urandom(chance.randrange(14, 200)))
    injector.close()


def test_stalled_readers(checked_site, tree):
    """100 clients ask for 64 MiB each and read nothing."""
    with Bystander(checked_site, tree):
        stalled = []
        for _ in range(100):
            connection = checked_site.connect(receive_buffer=4096)
            connection.send(request("/medium.bin"))
            stalled.append(connection)
        time.sleep(3)
        for connection in stalled:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.close()


def test_a_reader_that_stalled_and_goes_on(checked_site, tree):
    with checked_site.connect(receive_buffer=4096, timeout=30) as connection, Bystander(checked_site, tree):
        connection.send(request("/sizes/2097153.bin"))
        time.sleep(3)
        assert sha256(connection.read_response().body) == tree.digests["sizes/2097153.bin"]


def test_one_byte_a_second(checked_site, tree):
    """Twenty clients send their heads a byte at a time; their connections are theirs alone to lose."""
    with Bystander(checked_site, tree):
        slow = [checked_site.connect() for _ in range(20)]
        for byte in request("/hello.txt")[:5]:
            for connection in slow:
                connection.send(bytes([byte]))
            time.sleep(1)
        for connection in slow:
            connection.close()


def test_one_byte_a_read(checked_site, tree):
    """Twenty clients read a byte now and then through the smallest window there is."""
    with Bystander(checked_site, tree):
        slow = [checked_site.connect(receive_buffer=1) for _ in range(20)]
        for connection in slow:
            connection.send(request("/sizes/1048576.bin"))
        for _ in range(30):
            for connection in slow:
                connection.socket.recv(1)
            time.sleep(0.1)
        for connection in slow:
            connection.close()


def test_resets_in_mid_response(checked_site, tree):
    with Bystander(checked_site, tree):
        for number in range(200):
            connection = checked_site.connect()
            connection.send(request("/medium.bin"))
            connection.socket.recv(1 + 1000 * (number % 50))
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.close()


def test_closed_right_after_asking(checked_site, tree):
    with Bystander(checked_site, tree):
        for _ in range(300):
            connection = checked_site.connect()
            connection.send(request("/medium.bin"))
            connection.close()


def test_connected_and_silent(checked_site, tree):
    with Bystander(checked_site, tree):
        silent = [checked_site.connect() for _ in range(500)]
        time.sleep(1)
        for connection in silent:
            connection.close()


def test_garbage(checked_site, tree):
    chance = random.Random(5)
    with Bystander(checked_site, tree):
        for number in range(100):
            with checked_site.connect(timeout=5) as connection:
                try:
                    connection.send(chance.randbytes(chance.choice([1, 10, 1000, 100000])) + b"\r\n\r\n")
                    seen = connection.read_to_end()
                    assert seen == b"" or seen.startswith(b"HTTP/1.1 4") or seen.startswith(b"HTTP/1.1 5"), seen[:80]
                except (BrokenPipeError, ConnectionResetError):
                    pass


def test_64_kib_headers(checked_site, tree):
    with Bystander(checked_site, tree):
        for _ in range(50):
            with checked_site.connect(timeout=5) as connection:
                try:
                    connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 65536 + b"\r\n\r\n")
                    assert connection.read_response().status == 431
                except (Closed, BrokenPipeError, ConnectionResetError):
                    pass  # the rest of the head may meet a closed connection


def test_a_storm_of_pipelined_requests(checked_site, tree):
    """10,000 requests sent without reading an answer; then all answers are read."""
    count = 10000
    with checked_site.connect(timeout=60) as connection, Bystander(checked_site, tree):
        sender = threading.Thread(target=lambda: connection.send(request("/one.txt") * count))
        sender.start()
        for _ in range(count):
            response = connection.read_response()
            assert (response.status, response.body) == (200, b"1")
        sender.join()


def test_more_connections_than_there_is_room_for(make_site, checked_site, tree):
    """Beyond --max-connections, newcomers wait or are refused; those inside are served."""
    from rig.site import Setup
    site = make_site(Setup(build=checked_site.setup.build, workers=1, arguments=("--max-connections", "64"))) \
        if not REFERENCE else checked_site
    inside = [site.connect() for _ in range(48)]
    outside = []
    for _ in range(200):
        connection = site.client.socket()
        connection.setblocking(False)
        connection.connect_ex((SERVER[4], 80))
        outside.append(connection)
    time.sleep(1)
    for connection in inside:
        connection.send(request("/hello.txt"))
        assert connection.read_response().body == b"hello, world\n"
        connection.close()
    for connection in outside:
        connection.close()
    eventually(lambda: site.exchange(request("/hello.txt"), timeout=5).status == 200, seconds=20)
