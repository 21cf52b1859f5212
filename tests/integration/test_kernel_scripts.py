"""Scripts of tests/packet against the kernel's own TCP: does it read the RFCs as we do?

tests/packet/linux.toml lists the scripts, and where the kernel does something else, with the reason. A script that is not
listed asks for something that the kernel cannot be asked for (a small table, content that is missing, a counter).
"""
import concurrent.futures
import contextlib
import pathlib
import tomllib

import pytest

from rig import packet_script
from rig.namespace import Namespace

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "packet"
LISTED = tomllib.loads((FOLDER / "linux.toml").read_text())["script"]


AT_A_TIME = 4  # they mostly wait


def play(listed):
    """Returns: what went wrong, or None."""
    steps = packet_script.parse_script((FOLDER / "scripts" / f"{listed['name']}.pkt").read_text())
    lines = {step[0]: step[3] for step in steps}
    differences = {}
    for difference in listed.get("differs", []):
        assert difference["why"], "a difference has a reason"
        matching = [line for line, what in lines.items() if what == difference["at"]]
        assert matching, f"no step of the script reads: {difference['at']}"
        differences[matching[difference.get("nth", 1) - 1]] = difference["kernel"]
    with contextlib.closing(Namespace("packet")) as namespace:
        with contextlib.closing(packet_script.Player(namespace)) as player:
            player.play(steps, differences)


@pytest.fixture(scope="session")
def played():
    """{name: a future of its outcome}; all of them are under way."""
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {listed["name"]: pool.submit(play, listed) for listed in LISTED}


@pytest.mark.parametrize("name", [listed["name"] for listed in LISTED])
@pytest.mark.timeout(120)
def test_kernel_agrees(played, name):
    played[name].result()


def test_the_judge_can_fail():
    """A script with a wrong expectation is refused."""
    with contextlib.closing(Namespace("packet")) as namespace, \
            contextlib.closing(packet_script.Player(namespace)) as player:
        text = "+0 < S 0:0(0) win 65535 <mss 1460>\n+0 > S. 0:0(0) ack 2\n"
        with pytest.raises(packet_script.Mismatch, match="line 2.*\n.*ack 1, not 2"):
            player.play(packet_script.parse_script(text), {})
