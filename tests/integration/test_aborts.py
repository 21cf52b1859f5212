"""Ten thousand clients that reset their connection in the middle of a response leave nothing behind."""
import pytest

from conftest import REFERENCE, eventually
from rig.abort import abort_many
from rig.client import request
from rig.content import sha256
from rig.site import Setup
from rig.stats import AT_REST, total

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="about sluiced alone")

ABORTS = 10_000
GROWTH_KIB_MAX = 2048


@pytest.mark.parametrize("port", ["tap", "af_packet", "af_xdp"])
def test_ten_thousand_aborts_leave_no_trace(make_site, tree, port, quick):
    if quick and port != "tap":
        pytest.skip("not with --quick")
    site = make_site(Setup(port=port))

    def at_rest():
        """connections, pins and buffers return to zero"""
        stats = site.stats()
        return all(total(stats, name) == 0 for name in AT_REST)

    resident = []
    for wave in range(3):  # the first one touches what was reserved at the start
        outcome = abort_many(site, "/medium.bin", ABORTS)
        print(f"{port}: {outcome.done} aborted in mid-response, {outcome.failed} not, in {outcome.seconds:.2f} s")
        assert outcome.done == ABORTS
        eventually(at_rest)
        memory = site.memory_kib()
        resident.append(memory["RssAnon"] + memory["RssShmem"])
        print(f"{port}: {resident[-1]} KiB resident")
    assert max(resident[1:]) - resident[0] <= GROWTH_KIB_MAX, resident
    # And it still serves: packet buffers are all back, or this would stop after some thousand frames.
    assert sha256(site.exchange(request("/medium.bin"), timeout=60).body) == tree.digests["medium.bin"]
