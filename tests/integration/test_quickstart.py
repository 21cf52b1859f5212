"""scripts/quickstart as a newcomer runs it, with the build that is there and a small demo tree."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import REFERENCE, eventually
from rig.site import BUILDS, ROOT

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="about sluiced alone")

PAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return {**os.environ, "SLUICE_BUILD_DIR": str(BUILDS["gcc"]), "SLUICE_DEMO_MIB": "64",
            "SLUICE_DEMO_DIR": str(tmp_path_factory.mktemp("demo"))}


def left_overs(pid=None):
    """Namespaces, taps and folders that a quickstart made."""
    namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    names = re.findall(rf"sl-quickstart-{pid or r'[0-9]+'}\b", namespaces)
    return set(names) | {str(path) for path in pathlib.Path("/tmp").glob("sluice-quickstart.*")}


def pages():
    return int(PAGES.read_text()) if PAGES.exists() else 0


def test_once(environment):
    before, pages_before = left_overs(), pages()
    done = subprocess.run([ROOT / "scripts" / "quickstart", "--once"], env=environment, capture_output=True, text=True,
                          timeout=200)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"IPv4: 64 MiB at \d+ MB/s, SHA-256 \S+ is right", done.stdout)
    assert re.search(r"IPv6: 64 MiB at \d+ MB/s, SHA-256 \S+ is right", done.stdout)
    assert "rx_frames" in done.stdout
    assert left_overs() <= before
    assert pages() <= pages_before


def test_second_run_takes_seconds_and_serves_a_given_directory(environment, tmp_path):
    (tmp_path / "some file & more.bin").write_bytes(os.urandom(3000000))
    started = time.monotonic()
    done = subprocess.run([ROOT / "scripts" / "quickstart", tmp_path, "--once"], env=environment, capture_output=True,
                          text=True, timeout=100)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is right" in done.stdout
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_takes_everything_away(environment, number, tmp_path):
    before, pages_before = left_overs(), pages()
    log = tmp_path / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen([ROOT / "scripts" / "quickstart"], env=environment, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        eventually(lambda: b"Ctrl-C" in log.read_bytes() or process.poll() is not None, seconds=150)
        assert process.poll() is None, log.read_text()
        process.send_signal(number)
        assert process.wait(timeout=60) == 128 + number
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
    assert left_overs() <= before
    assert pages() <= pages_before


def test_interrupted_while_it_starts(environment):
    before, pages_before = left_overs(), pages()
    for delay in (0.2, 0.6, 1.0, 1.5, 2.5):
        process = subprocess.Popen([ROOT / "scripts" / "quickstart"], env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    assert left_overs() <= before
    assert pages() <= pages_before


@pytest.mark.no_namespace
def test_it_says_what_to_do_when_not_root():
    words = [ROOT / "scripts" / "quickstart", "--once"]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    if "Permission denied" in done.stderr:
        pytest.skip("this checkout cannot be read by another user")
    assert done.returncode != 0 and "root" in done.stderr


def test_two_nodes(environment, tmp_path):
    """scripts/quickstart-pair, with a file of ours."""
    (tmp_path / "f").write_bytes(os.urandom(24_000_001))
    done = subprocess.run([ROOT / "scripts" / "quickstart-pair", tmp_path / "f"], env=environment, capture_output=True,
                          text=True, timeout=200)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "published, 2 of 2 copies verified" in done.stdout
    assert len(re.findall(r"node (?:one|two): SHA-256 \S+ is right, ETag \"[0-9a-f]{16}\"", done.stdout)) == 2
    assert re.search(r"replica_copied_bytes +0\n", done.stdout)
    assert done.stdout.rstrip().endswith("All is well.")
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert "sl-pair-" not in left
    assert not list(pathlib.Path("/var/tmp").glob("sluice-pair.*"))


@pytest.mark.skipif(not shutil.which("etcd"), reason="needs etcd")
def test_five_nodes(environment, tmp_path):
    """scripts/quickstart-cluster: etcd of three, three copies, a holder that dies and is replaced."""
    (tmp_path / "f").write_bytes(os.urandom(9_000_001))
    done = subprocess.run([ROOT / "scripts" / "quickstart-cluster", tmp_path / "f"], env=environment, capture_output=True,
                          text=True, timeout=400)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "published, 3 of 3 copies verified" in done.stdout
    # All five, and the four that are left.
    assert len(re.findall(r"node\d: SHA-256 \S+ is right, ETag \"[0-9a-f]{16}\"", done.stdout)) == 9
    assert re.search(r"three copies again after \d+ s: node\d node\d node\d\n", done.stdout)
    assert done.stdout.rstrip().endswith("All is well.")
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    assert "sl-cluster-" not in left
    assert not list(pathlib.Path("/var/tmp").glob("sluice-cluster.*"))
