"""Fixtures of the testbed's suites, and the report that every run writes (build/dts/report.md).

A suite is a file of suites/. It says at its top TOPOLOGY = "name", takes `bench` (the machines of that topology, up for as
long as the suite lasts) and `case` (what it verified, for the reader).
"""
import pathlib
import re
import signal
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from rig.content import Pattern  # noqa: E402
from testbed.bench import Bench, missing  # noqa: E402
from testbed.kernel import find_kernel  # noqa: E402
from testbed.leftovers import KINDS, Before  # noqa: E402
from testbed.report import CaseRecord, Report  # noqa: E402
from testbed.server import BUILD, HOST_SETUP  # noqa: E402
from testbed.topology import chosen, read_topology  # noqa: E402

OUTPUT = ROOT / "build" / "dts"
REPORT = pytest.StashKey()
BEFORE = pytest.StashKey()
RECORD = pytest.StashKey()


def pytest_configure(config):
    # Ended by a time limit: the machines still go away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.stash[REPORT], config.stash[BEFORE] = Report(), Before()


def pytest_collection_modifyitems(config, items):
    # The blocking suite first, then those that use its machines.
    items.sort(key=lambda item: (item.path.stem != "test_smoke", item.module.TOPOLOGY != "drivers"))
    reasons = {}
    for item in items:
        kind = read_topology(chosen(item.module.TOPOLOGY)).machines_are
        if kind not in reasons:
            reasons[kind] = missing(kind)
            if reasons[kind] is None and not (BUILD / "app" / "sluiced").exists():
                reasons[kind] = f"{BUILD}/app/sluiced is not built"
        if reasons[kind]:
            item.add_marker(pytest.mark.skip(reason=reasons[kind]))
        record = CaseRecord(item.path.stem.removeprefix("test_"), item.name, first_sentence(item.obj.__doc__))
        item.stash[RECORD] = record
        config.stash[REPORT].cases.append(record)
    if reasons.get("qemu", "") is None:
        config.stash[REPORT].facts["kernel of the machines"] = find_kernel().release
    config.stash[REPORT].facts["sluiced"] = BUILD


def first_sentence(text):
    return re.split(r"\n\s*\n", (text or "").strip())[0].replace("\n    ", " ")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    result = (yield).get_result()
    record = item.stash[RECORD]
    record.seconds += result.duration
    if result.failed:
        record.outcome = "failed"
        told = [line for line in str(result.longrepr).strip().splitlines() if line.startswith("E ")]
        record.reason = (told[0] if told else str(result.longrepr))[:500]
        say(item.config, f"FAILED: {record.reason}")  # now, not when the last suite has ended
    elif result.skipped:
        record.outcome = "skipped"
        record.reason = result.longrepr[2] if isinstance(result.longrepr, tuple) else str(result.longrepr)
    elif result.when == "call":
        record.outcome = "passed"


@pytest.hookimpl(trylast=True)  # after the machines have gone, also when a signal ended the run
def pytest_sessionfinish(session):
    report = session.config.stash[REPORT]
    if session.config.option.collectonly or not report.cases:
        return
    report.left, report.strange = session.config.stash[BEFORE].leftovers()
    report.looked_at = KINDS
    if report.left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    OUTPUT.mkdir(parents=True, exist_ok=True)
    text = report.markdown()
    (OUTPUT / f"report-{report.started:%Y%m%d-%H%M%S}.md").write_text(text)
    (OUTPUT / "report.md").write_text(text)


def pytest_terminal_summary(terminalreporter, config):
    if not config.option.collectonly:
        report = config.stash[REPORT]
        for each in report.left:
            terminalreporter.write_line(f"LEFT BEHIND: {each}")
        if report.looked_at and not report.left:
            terminalreporter.write_line(f"nothing was left behind ({report.looked_at})")
        terminalreporter.write_line(f"report: {OUTPUT.relative_to(ROOT)}/report.md")


def say(config, line):
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        config.pluginmanager.getplugin("terminalreporter").write_line(line)


class Case:
    """What a case verified, for the terminal and the report."""

    def __init__(self, request, record):
        self._config, self._record = request.config, record
        self._started = time.monotonic()

    def verify(self, text, good, otherwise=""):
        """Fails when `good` is not true, with `otherwise`; else records the text as verified."""
        assert good, f"not so: {text}{': ' if otherwise != '' else ''}{otherwise}"
        self._record.verified.append(text)
        self.say(f"verified: {text}")

    def note(self, text):
        self._record.noted.append(text)
        self.say(text)

    def table(self, title):
        return self._config.stash[REPORT].table(title)

    def say(self, text):
        """One line on the terminal at once, whatever pytest captures."""
        say(self._config, f"    {time.monotonic() - self._started:5.1f} s  {text}")


@pytest.fixture
def case(request):
    return Case(request, request.node.stash[RECORD])


class Rack:
    """One bench at a time: a suite that wants the topology of the suite before it finds its machines still up."""

    def __init__(self):
        self._bench = None

    def get(self, name):
        if self._bench and (self._bench.topology.name != pathlib.Path(name).stem or not self._bench.is_whole()):
            self.close()
        if not self._bench:
            self._bench = Bench(read_topology(name), OUTPUT / "logs").__enter__()
        return self._bench

    def close(self):
        if self._bench:
            self._bench.__exit__()
        self._bench = None


@pytest.fixture(scope="session")
def rack(tree):
    """(The tree comes first: machines see the host's files as they were when they booted.)"""
    made = Rack()
    yield made
    made.close()


@pytest.fixture(scope="module")
def bench(request, rack):
    """The machines of the suite's TOPOLOGY, with the clients' addresses set and the server as it booted."""
    up = rack.get(chosen(request.module.TOPOLOGY))
    yield up
    if up.topology.machines_are != "namespaces" and "server" in up.machines and up["server"].is_running():
        up["server"].run(HOST_SETUP, "--undo", timeout=120, check=False)
        up.name_ends("server")
    if request.session.testsfailed:
        rack.close()  # whatever state it is in


class Tree:
    """Files whose every byte is known: served in a machine, checked by their digests."""

    SIZES = (0, 1, 4097, 100_003, 1 << 20, 4_194_301)

    def __init__(self, folder):
        self.folder = folder
        self.digests = {}
        folder.mkdir(parents=True, exist_ok=True)
        for size in self.SIZES:
            pattern, path = Pattern(f"dts {size}"), folder / f"{size}.bin"
            if not path.exists() or path.stat().st_size != size:
                pattern.write(path, size)
            self.digests[path.name] = pattern.sha256(size)


@pytest.fixture(scope="session")
def tree():
    """Made before the machines boot: they see the host's files as they were then."""
    return Tree(OUTPUT / "tree")
