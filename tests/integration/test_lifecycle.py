"""Starting, being refused, idling, draining."""
import signal
import statistics
import subprocess
import threading
import time

import pytest

from conftest import REFERENCE, eventually
from rig.client import Closed, request
from rig.content import sha256
from rig.site import BUILDS, Setup

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="about sluiced alone")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_drain_lets_running_responses_end(make_site, tree, number):
    site = make_site(Setup())
    running = site.connect(timeout=30, receive_buffer=65536)
    running.send(request("/medium.bin"))
    running.read_head()
    idle = site.connect()
    site.process.send_signal(number)
    time.sleep(0.5)
    # No newcomers.
    with pytest.raises((OSError, Closed)):
        site.exchange(request("/hello.txt"), timeout=1)
    # An idle connection ends.
    assert idle.read_to_end() == b""
    assert site.process.poll() is None, "it ended before the running response did"
    body = running.read_to_end()
    assert len(body) == (tree.root / "medium.bin").stat().st_size
    assert sha256(body) == tree.digests["medium.bin"]
    assert site.process.wait(timeout=10) == 0


def test_drain_is_bounded(make_site, tree):
    site = make_site(Setup(arguments=("--drain-timeout", "2s")))
    stalled = site.connect(receive_buffer=4096)
    stalled.send(request("/medium.bin"))
    time.sleep(0.5)
    started = time.monotonic()
    assert site.stop(timeout=10) == 0
    assert time.monotonic() - started < 6


def test_a_second_signal_ends_it_at_once(make_site, tree):
    site = make_site(Setup())
    stalled = site.connect(receive_buffer=4096)
    stalled.send(request("/medium.bin"))
    time.sleep(0.5)
    site.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    site.process.send_signal(signal.SIGTERM)
    site.process.wait(timeout=5)


def test_drain_by_sluicectl(make_site, tree):
    site = make_site(Setup())
    site.sluicectl("drain")
    assert site.process.wait(timeout=15) == 0


@pytest.mark.parametrize("port", ["tap", "af_packet", "af_xdp"])
def test_idle_costs_little_and_answers_at_once(make_site, port, quick):
    if quick and port != "tap":
        pytest.skip("not with --quick")
    site = make_site(Setup(port=port, workers=1))
    with site.connect() as connection:
        connection.send(request("/hello.txt"))
        connection.read_response()
        time.sleep(1)
        before, started = site.cpu_seconds(), time.monotonic()
        time.sleep(5)
        share = (site.cpu_seconds() - before) / (time.monotonic() - started)
        # What an idle worker adds to a first byte: one request after a pause long enough to let it sleep.
        waits = []
        for _ in range(100):
            time.sleep(0.02)
            started = time.perf_counter()
            connection.send(request("/hello.txt"))
            connection.socket.recv(65536)
            waits.append(time.perf_counter() - started)
    waits.sort()
    print(f"{port}: {share:.1%} of a core when idle; first byte after a pause: median "
          f"{statistics.median(waits) * 1e6:.0f} us, 90th of 100 {waits[90] * 1e6:.0f} us")
    assert share < 0.05
    assert statistics.median(waits) < 0.001


REFUSALS = {
    "no root": (["--port", "tap:x0", "--ip", "10.0.0.1/24"], "root"),
    "root absent": (["--root", "/nonexistent", "--port", "tap:x0", "--ip", "10.0.0.1/24"], "/nonexistent"),
    "root is a file": (["--root", "/etc/passwd", "--port", "tap:x0", "--ip", "10.0.0.1/24"], "/etc/passwd"),
    "no port": (["--root", "/", "--ip", "10.0.0.1/24"], "port"),
    "no ip": (["--root", "/", "--port", "tap:x0"], "ip"),
    "bad ip": (["--root", "/", "--port", "tap:x0", "--ip", "10.0.0.300/24"], "10.0.0.300"),
    "ip without prefix": (["--root", "/", "--port", "tap:x0", "--ip", "10.0.0.3"], "10.0.0.3"),
    "no such interface": (["--root", "/", "--port", "af_packet:absent9", "--ip", "10.0.0.1/24"], "absent9"),
    "no such interface for xdp": (["--root", "/", "--port", "af_xdp:absent9", "--ip", "10.0.0.1/24"], "absent9"),
    "unknown port": (["--root", "/", "--port", "teleport:x", "--ip", "10.0.0.1/24"], "teleport"),
    "absurd cache": (["--root", "/", "--port", "tap:x0", "--ip", "10.0.0.1/24", "--cache", "900T"], "cache"),
    "tiny cache": (["--root", "/", "--port", "tap:x0", "--ip", "10.0.0.1/24", "--cache", "1"], "cache"),
    "unknown option": (["--root", "/", "--port", "tap:x0", "--ip", "10.0.0.1/24", "--frobnicate"], "frobnicate"),
    "mtu too small": (["--root", "/", "--port", "tap:x0", "--ip", "fd00::1/64", "--mtu", "1000"], "mtu"),
    "workers zero": (["--root", "/", "--port", "tap:x0", "--ip", "10.0.0.1/24", "--workers", "0"], "workers"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_start_says_why_in_one_line(name, tap_site):
    """In a namespace, so that what does start by mistake harms nobody."""
    arguments, word = REFUSALS[name]
    done = subprocess.run(
        tap_site.client.command(BUILDS["gcc"] / "app" / "sluiced", "serve", "--no-huge", *arguments),
        capture_output=True, text=True, timeout=30)
    assert done.returncode not in (0, None) and done.returncode > 0, done
    lines = [line for line in done.stderr.strip().splitlines() if not line.startswith(("EAL:", "TELEMETRY:", "CACHE"))]
    assert lines and word.lower() in lines[-1].lower(), done.stderr
    assert len(lines) <= 3, done.stderr


def test_it_prints_its_budget(tap_site):
    text = tap_site.logged().lower()
    for word in ("cache", "worker", "mbuf", "10.9.0.2"):
        assert word in text, tap_site.logged()[:2000]


def test_stats_answer_while_the_workers_are_saturated(make_site, tree):
    site = make_site(Setup(workers=2))
    load = threading.Thread(target=lambda: site.client.run(
        "wrk", "-t", "2", "-c", "128", "-d", "4s", site.url("sizes/102400.bin"), check=False))
    load.start()
    time.sleep(0.5)
    slowest = 0
    for _ in range(10):
        started = time.monotonic()
        assert site.stats()
        slowest = max(slowest, time.monotonic() - started)
    load.join()
    print(f"slowest answer: {slowest:.3f} s")
    assert slowest < 2


def test_dpdk_telemetry_tool_reads_it(tap_site):
    """Debian's own dpdk-telemetry.py finds the socket and the counters."""
    done = subprocess.run(["dpdk-telemetry.py", "-f", tap_site.instance], input="/sluice/stats\nquit\n",
                          capture_output=True, text=True, timeout=20)
    assert "rx_frames" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def test_sluicectl_says_it_plainly_when_nobody_is_there():
    done = subprocess.run([BUILDS["gcc"] / "app" / "sluicectl", "--instance", "nobody-here", "stats"],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and done.stderr.strip() and len(done.stderr.strip().splitlines()) <= 2


def test_hugepages_are_used_where_they_are(make_site, tree):
    import pathlib
    folder = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
    if not folder.exists():
        pytest.skip("this kernel has no 2 MiB hugepages")
    before = int((folder / "nr_hugepages").read_text())
    wanted = 300
    (folder / "nr_hugepages").write_text(str(before + wanted))
    try:
        if int((folder / "free_hugepages").read_text()) < wanted:
            pytest.skip("hugepages cannot be reserved here (needs 600 MiB in one piece)")
        free = int((folder / "free_hugepages").read_text())
        site = make_site(Setup(huge=True))
        assert sha256(site.exchange(request("/sizes/2097153.bin")).body) == tree.digests["sizes/2097153.bin"]
        assert int((folder / "free_hugepages").read_text()) < free, "none were taken"
        assert site.stop() == 0
        eventually(lambda: int((folder / "free_hugepages").read_text()) >= free)
    finally:
        now = int((folder / "nr_hugepages").read_text())
        (folder / "nr_hugepages").write_text(str(max(0, now - wanted)))
