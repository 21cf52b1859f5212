"""Resident memory outside the arena and the packet pools does not grow: with files, downloads, or time."""
import time

import pytest

from conftest import REFERENCE
from rig.site import Setup

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="about sluiced alone")

GROWTH_KIB_MAX = 2048


@pytest.mark.timeout(400)
def test_memory_stays_flat(make_site, tree, large_file):
    site = make_site(Setup(cache="64M"))
    large, length, _ = large_file
    figures = []

    def note(what):
        resident = site.memory_kib()
        figures.append((what, resident["RssAnon"] + resident["RssShmem"]))

    def keep_alive_load(seconds):
        site.client.run("wrk", "-t", "1", "-c", "64", "-d", f"{seconds}s", site.url("sizes/4097.bin"))

    note("started")
    # Fills the arena and the pools once: memory that is touched first here was reserved at start.
    site.curl("-o", "/dev/null", "-r", f"0-{256 << 20}", site.url(large), timeout=120)
    keep_alive_load(3)
    note("warm")
    warm = figures[-1][1]
    site.curl("-o", "/dev/null", "-r", f"0-{min(length, 1 << 30) - 1}", site.url(large), timeout=200)
    note("a file 16 times the cache")
    keep_alive_load(8)
    note("tens of thousands of requests")
    for _ in range(300):
        site.connect().close()
    note("300 more connections")
    time.sleep(5)
    note("five idle seconds")
    for what, kib in figures:
        print(f"{kib:9d} KiB resident after: {what}")
    assert max(kib for _, kib in figures[1:]) - warm <= GROWTH_KIB_MAX, figures
