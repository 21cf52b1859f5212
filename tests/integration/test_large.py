"""200 downloads at once of a file sixteen times the cache."""
import random

import pytest

from conftest import REFERENCE
from rig.content import BLOCK
from rig.site import Setup
from rig.stats import total
from rig.swarm import Download, run_swarm

DOWNLOADS = 200


@pytest.mark.timeout(600)
@pytest.mark.parametrize("port, version", [("tap", 4), ("af_xdp", 6)])
def test_200_ranges_of_a_file_larger_than_the_cache(make_site, large_file, port, version, quick):
    name, length, pattern = large_file
    if quick and port != "tap":
        pytest.skip("not with --quick")
    site = make_site(Setup(port=REFERENCE or port, workers=2, cache="256M"))
    chosen = random.Random(7)
    # Together they cover the whole file, and overlap.
    share = length // DOWNLOADS
    downloads = []
    for number in range(DOWNLOADS):
        first = number * share
        extra = chosen.randrange(0, 2 * BLOCK)
        downloads.append(Download(site.connect(version), "/" + name, first, min(share + extra, length - first)))
    chosen.shuffle(downloads)
    seconds = run_swarm(downloads, pattern, seconds_max=480)
    failed = [f"{d.first}+{d.length}: {d.error}" for d in downloads if d.error]
    assert not failed, failed[:10]
    moved = sum(download.length for download in downloads)
    print(f"{port} IPv{version}: {moved / 1e9:.2f} GB in {seconds:.1f} s, {moved / seconds / 1e6:.0f} MB/s")
    if REFERENCE:
        return
    stats = site.stats()
    copied = total(stats, "nic_payload_copied_bytes")
    # A tap takes chained mbufs: nothing may be copied. AF_XDP takes none.
    assert copied == 0 if port == "tap" else copied > 0
    assert total(stats, "store_read_errors") == 0


@pytest.mark.timeout(300)
def test_one_hot_file_read_by_many(tap_site, tree):
    """64 readers of one file that fits: it is read from the disk once."""
    from rig.content import Pattern
    size = 2 * BLOCK + 1
    before = None if REFERENCE else total(tap_site.stats(), "store_read_bytes")
    for _ in range(5):
        downloads = [Download(tap_site.connect(), f"/sizes/{size}.bin", 0, size) for _ in range(64)]
        run_swarm(downloads, Pattern(size), seconds_max=60)
        assert not [d.error for d in downloads if d.error]
    if before is not None:
        # O_DIRECT reads are rounded up to blocks; read-ahead asks for nothing beyond the file.
        assert total(tap_site.stats(), "store_read_bytes") - before <= size + 3 * BLOCK
