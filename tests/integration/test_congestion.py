"""Congestion control against the kernel's client over an emulated link: marks (RFC 3168), pacing, BBR's queue."""
import json
import time

import pytest

from conftest import REFERENCE
from rig.content import sha256
from rig.linked import LinkedSite, Watch, start_download
from rig.site import Setup
from rig.stats import total

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="about sluice's own congestion control")

FLAG_ECE, FLAG_CWR, FLAG_SYN = 0x40, 0x80, 0x02
ECT0, CE = 2, 3
MBIT = 1_000_000


@pytest.fixture
def make_linked(tree):
    opened = []

    def make(*arguments, ecn=0):
        site = LinkedSite(Setup(port="af_packet", workers=1, arguments=arguments), tree.root)
        opened.append(site)
        site.client.run("sysctl", "-qw", f"net.ipv4.tcp_ecn={ecn}", "net.ipv4.tcp_rmem=4096 131072 16777216")
        return site

    yield make
    for site in opened:
        site.close()


def transfer(site, tree, name):
    assert sha256(site.curl(site.url(name)).stdout) == tree.digests[name]


@pytest.mark.parametrize("control", ["cubic", "new_reno", "bbr"])
def test_a_queue_that_marks_loses_nothing(make_linked, tree, control):
    """Marks instead of losses: the queue stays short, the kernel sees CE and CWR, and nothing is sent again."""
    site = make_linked("--congestion", control, ecn=1)
    site.shape(rate=20 * MBIT, rtt_ms=20, queue=400_000, ecn=30_000)
    watch = Watch(site)
    transfer(site, tree, "sizes/2097153.bin")
    seen = watch.end()
    link, stats = site.counters(), site.stats()
    assert total(stats, "tcp_ecn_agreed") >= 1
    assert link["marked"] > 0 and link["dropped_queue"] == 0
    assert total(stats, "tcp_ecn_echoes") > 0
    assert total(stats, "tcp_retransmitted_segments") == 0
    data = [frame for frame in seen if frame[1] and frame[4] > 0]
    assert all(frame[3] in (ECT0, CE) for frame in data), "new data is ECN-capable"
    assert all(frame[3] == 0 for frame in seen if frame[1] and frame[4] == 0), "ACKs and the SYN-ACK are not"
    assert any(frame[2] & FLAG_CWR for frame in data)
    # Each mark is answered: the kernel stops its echo with CWR, so that it ends with ACKs that echo nothing.
    acks = [frame for frame in seen if not frame[1] and not frame[2] & FLAG_SYN]
    assert sum(bool(frame[2] & FLAG_ECE) for frame in acks) < len(acks)
    last_cwr = max(index for index, frame in enumerate(seen) if frame[1] and frame[2] & FLAG_CWR)
    marked_since = any(frame[3] == CE for frame in seen[last_cwr:] if frame[1])
    quiet = [frame for frame in seen[last_cwr + 1:] if not frame[1]]
    assert marked_since or not any(frame[2] & FLAG_ECE for frame in quiet[2:])


def test_marks_keep_the_queue_short(make_linked, tree):
    """The same link with and without ECN, after slow start: with it, the queue stays near where it marks."""
    peaks = {}
    for ecn in (0, 1):
        site = make_linked("--congestion", "cubic", ecn=ecn)
        shape = {"rate": 10 * MBIT, "rtt_ms": 20, "queue": 60_000, "ecn": 20_000}
        site.shape(**shape)
        connection = start_download(site, "/medium.bin")
        time.sleep(2)
        site.shape(**shape)  # counters begin anew
        time.sleep(5)
        row = connections(site)[0]
        peaks[ecn] = site.counters()["queue_bytes_peak"]
        assert row["ecn"] == bool(ecn)
        assert (row["marked_bytes"] > 0) == bool(ecn)
        connection.close()
    assert peaks[1] < 40_000 < 55_000 < peaks[0], peaks


def connections(site):
    rows = json.loads(site.sluicectl("connections", "--json"))
    return [row for row in rows if row["state"].startswith("established")]


def second_flight_seconds(site):
    """How long the second round trip's segments take to pass the client's link, which has no rate of its own."""
    site.shape(rtt_ms=100)
    watch = Watch(site)
    connection = start_download(site, "/medium.bin")
    time.sleep(0.8)
    connection.close()
    data = [frame for frame in watch.end() if frame[1] and frame[4] > 0]
    first = data[0][0]
    flight = [frame[0] for frame in data if 0.07 < frame[0] - first < 0.19]
    assert len(flight) >= 15
    return flight[-1] - flight[0]


def test_a_window_is_spread_over_its_round_trip(make_linked):
    """Slow start at twice cwnd/srtt: some 50 ms for the second flight; without pacing it follows the ACKs of the first,
    which left at once."""
    paced = second_flight_seconds(make_linked("--pacing", "on"))
    burst = second_flight_seconds(make_linked("--pacing", "off"))
    assert burst < 0.015, burst
    assert 0.030 < paced < 0.080, paced


def test_bbr_fills_the_link_and_not_its_queue(make_linked):
    """More than two bandwidth-delay products of queue: CUBIC fills them by and by, BBR does not."""
    peaks, goodput = {}, {}
    for control in ("cubic", "bbr"):
        site = make_linked("--congestion", control)
        shape = {"rate": 10 * MBIT, "rtt_ms": 40, "queue": 120_000}
        site.shape(**shape)
        connection = start_download(site, "/medium.bin")
        time.sleep(6)
        site.shape(**shape)
        time.sleep(5)
        counted = site.counters()
        peaks[control] = counted["queue_bytes_peak"]
        goodput[control] = counted["delivered_bytes"] * 8 / 5
        connection.close()
    assert goodput["bbr"] > 0.85 * 10 * MBIT, goodput
    assert peaks["bbr"] < 0.8 * peaks["cubic"], peaks  # seen: 77 of 125 KB, 27 of 98
