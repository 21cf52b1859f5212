"""Fixtures: the served tree, and sites on each kind of port.

A test that takes `site` runs on every port with one and two workers; one that takes `family` also over
IPv4 and IPv6. A test that takes `tap_site` runs on one tap with two workers. A test that needs a server of
its own, or harms the one it has, calls `make_site(Setup(...))`.
"""
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from rig.content import BLOCK, STATE, Pattern, cached_file  # noqa: E402
from rig.site import BUILDS, Setup, open_site  # noqa: E402

REFERENCE = os.environ.get("SLUICE_REFERENCE")
PORTS = ["tap", "af_packet", "af_xdp"]


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="one worker count, one port, smaller files")
    parser.addoption("--port-kind", action="append", help="only these ports")


def pytest_report_header(config):
    return f"sluice builds: {', '.join(f'{name} in {path}' for name, path in BUILDS.items())}"


def missing_for_namespaces():
    """Why namespaces cannot be used here; None when they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not pathlib.Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    name = f"sl-test-{os.getpid()}-probe"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode != 0:
        return f"network namespaces cannot be made: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return None


def pytest_collection_modifyitems(config, items):
    reason = missing_for_namespaces()
    if reason:
        for item in items:
            if "no_namespace" not in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_configure(config):
    # Ended by a time limit: still take away the namespaces and the servers in them.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "no_namespace: runs without root")
    config.addinivalue_line("markers", "timeout: see pytest-timeout")


def pytest_generate_tests(metafunc):
    quick = metafunc.config.getoption("--quick")
    ports = metafunc.config.getoption("--port-kind") or (["tap"] if quick else PORTS)
    if "site" in metafunc.fixturenames:
        if REFERENCE:
            setups = [Setup(port=REFERENCE, workers=1)]
        else:
            setups = [Setup(port=port, workers=workers) for port in ports for workers in ([2] if quick else [1, 2])]
        metafunc.parametrize("site", setups, ids=str, indirect=True, scope="session")
    if "family" in metafunc.fixturenames:
        metafunc.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
    if "checked_site" in metafunc.fixturenames:
        builds = ["gcc"] if REFERENCE or not (BUILDS["asan"] / "app" / "sluiced").exists() else ["gcc", "asan"]
        setups = [Setup(port=REFERENCE or "tap", build=build) for build in builds]
        metafunc.parametrize("checked_site", setups, ids=str, indirect=True, scope="session")


@pytest.fixture(scope="session")
def quick(request):
    return request.config.getoption("--quick")


class Tree:
    """The served tree: what is in it and what it must read like."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.digests = {}

    def add(self, name, data):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.digests[name] = hashlib.sha256(data).hexdigest()
        return path

    def add_pattern(self, name, seed, length):
        pattern = Pattern(seed)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pattern.write(path, length)
        self.digests[name] = pattern.sha256(length)
        return path

    def read(self, name):
        return (self.root / name).read_bytes()


MEDIUM_BYTES = 64 * BLOCK + 12345


@pytest.fixture(scope="session")
def tree():
    """Files of every size that matters, a directory with an index, a video, links out and within."""
    STATE.mkdir(parents=True, exist_ok=True)
    # On a real file system, so that O_DIRECT is used as it will be in service.
    root = tempfile.mkdtemp(prefix="tree-", dir=STATE)
    made = Tree(root)
    made.add("index.html", b"<!doctype html><title>root</title>root index\n")
    made.add("directory/index.html", b"<!doctype html><title>directory</title>directory index\n")
    made.add("empty.txt", b"")
    made.add("one.txt", b"1")
    made.add("hello.txt", b"hello, world\n")
    made.add("name with spaces & 100%.txt", b"odd name\n")
    made.add("unicode/gr\u00fc\u00df.txt", "gr\u00fc\u00df\n".encode())
    made.add("no-index/file.bin", b"x")
    for size in (1024, 4095, 4096, 4097, 100 * 1024, BLOCK, 2 * BLOCK, 2 * BLOCK + 1):
        made.add_pattern(f"sizes/{size}.bin", size, size)
    made.add_pattern("medium.bin", 1, MEDIUM_BYTES)
    os.symlink("hello.txt", f"{root}/link-within.txt")
    os.symlink("/etc/passwd", f"{root}/link-out.txt")
    os.symlink("../../../../../../etc", f"{root}/link-up")
    os.symlink("/", f"{root}/link-root")
    os.symlink("loop", f"{root}/loop")
    os.mkfifo(f"{root}/fifo")
    os.chmod(root, 0o755)
    yield made
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def video(tree):
    """Thirty seconds of test picture with a key frame a second; its index is at the end of the file."""
    path = tree.root / "video.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=duration=30:size=640x360:rate=25", "-c:v", "libx264",
         "-preset", "ultrafast", "-g", "25", "-qp", "1", "-y", path], check=True, timeout=120, stdin=subprocess.DEVNULL)
    return path


def expect_clean_end(code, opened):
    log = opened.logged()
    for sign in ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "ASSERT", "assertion"):
        assert sign not in log, f"sluiced reported:\n{log[-6000:]}"
    if opened.setup.port != "nginx":
        assert code in (0, None), f"sluiced ended with {code}:\n{log[-3000:]}"


@pytest.fixture(scope="session")
def site(request, tree):
    opened = open_site(request.param, tree.root)
    yield opened
    expect_clean_end(opened.close(), opened)


@pytest.fixture(scope="session", name="checked_site")
def checked_site_fixture(request, tree):
    opened = open_site(request.param, tree.root)
    yield opened
    expect_clean_end(opened.close(), opened)


@pytest.fixture(scope="session")
def tap_site(tree):
    opened = open_site(Setup(port=REFERENCE or "tap"), tree.root)
    yield opened
    expect_clean_end(opened.close(), opened)


@pytest.fixture
def make_site(tree):
    """Opens sites that end with the test."""
    opened = []

    def make(setup=Setup(), root=None):
        one = open_site(setup, root or tree.root)
        opened.append(one)
        return one

    yield make
    for one in opened:
        running = one.process and one.process.poll() is None
        code = one.close()
        if running:
            expect_clean_end(code, one)


@pytest.fixture(scope="session")
def large_file(tree, quick):
    """The 4 GiB file (SLUICE_TEST_LARGE_MIB) and its Pattern; linked into the tree."""
    mib = int(os.environ.get("SLUICE_TEST_LARGE_MIB", 1024 if quick else 4096))
    path = cached_file("large", mib * BLOCK)
    if path is None:
        pytest.skip(f"needs {mib + 1024} MiB free in {STATE}")
    os.link(path, tree.root / "large.bin")
    return "large.bin", mib * BLOCK, Pattern("large")


@pytest.fixture
def own_tree():
    """An empty tree that a test may change as it likes."""
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="own-", dir=STATE) as root:
        os.chmod(root, 0o755)
        yield Tree(root)


def eventually(check, seconds=10, step=0.1):
    """Calls check until it returns true; fails with what it last returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"{check.__doc__ or check.__name__} did not come true in {seconds} s"
        time.sleep(step)


FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
