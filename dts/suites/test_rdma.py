"""RDMA: the mover over verbs between machines with soft-RoCE: whole bytes both ways, and every failure that can be made here.

sluice-mover-probe (perf/mover) is the mover and nothing else. After each link's end it paints the memory that was granted, and says
whether anything was written there afterwards.
"""
import json
import re
import signal
import statistics
import time

import pytest

from testbed.server import BUILD

TOPOLOGY = "rdma2"
PROBE = BUILD / "perf" / "mover" / "sluice-mover-probe"
MODULES = ("ib_core", "ib_cm", "iw_cm", "rdma_cm", "ib_uverbs", "rdma_ucm", "udp_tunnel", "ip6_udp_tunnel", "rdma_rxe")
PORT = 7900
PATIENCE = 240  # under emulation, on cores that others use as well
WATCH = "2"


def events_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def find(events, kind):
    return [event for event in events if event["event"] == kind]


class Probe:
    """sluice-mover-probe as a job in a machine."""

    def __init__(self, machine, *words):
        self.machine = machine
        self.job = machine.start_job(PROBE, *words)
        self.wait("ready")

    def events(self):
        return events_of(self.job.output())

    def wait(self, kind, count=1, seconds=PATIENCE):
        """Returns the count-th event of a kind, when it comes."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self.job.poll()
            found = find(self.events(), kind)
            if len(found) >= count:
                return found[count - 1]
            assert ended is None, f"the probe ended with {ended}: {self.job.output()[-1500:]}"
            assert time.monotonic() < deadline, f"no {kind} within {seconds} s: {self.job.output()[-1500:]}"
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.machine.is_running() and self.job.poll() is None:
            self.job.signal(signal.SIGCONT)
            self.job.signal(signal.SIGKILL)
            self.job.wait(10)


@pytest.fixture(scope="module")
def fabric(bench):
    """Both machines with an rxe device on their NIC. Returns what the probe said of a machine without one."""
    alpha = bench["alpha"]
    before = alpha.run(PROBE, "--transport", "rdma", "--listen", f":{PORT}", check=False, timeout=PATIENCE)
    for name, machine in bench.machines.items():
        for module in MODULES:
            machine.run("modprobe", module, timeout=60)
        machine.run("rdma", "link", "add", "rxe0", "type", "rxe", "netdev", bench.interfaces[name]["fabric"][0])
    return before


@pytest.fixture
def listener(bench, fabric):
    with Probe(bench["alpha"], "--transport", "rdma", "--listen", f":{PORT}", "--write-bytes", 2 << 20, "--watch-s", WATCH) as running:
        yield running


def address(bench, name="alpha"):
    return f"{bench.nic('fabric', name).ip()}:{PORT}"


def dial(bench, *words, check=True):
    done = bench["beta"].run(PROBE, "--transport", "rdma", "--dial", address(bench), "--watch-s", WATCH, *words, check=check, timeout=PATIENCE)
    return done.rc, events_of(done.out)


def is_quiet(events):
    return [event["written_after_the_end"] for event in find(events, "watched")] == [False]


def test_without_rdma_the_reason_is_said(fabric, case):
    """Where the kernel has no RDMA device, opening the mover says so and what to do; nothing crashes.

    Steps:
        The probe, before any module is loaded.
    Verify:
        Exit status 1; the text names the module.
    """
    case.verify("it says what is missing, and how to get it", fabric.rc == 1 and "modprobe rdma_ucm" in fabric.err, fabric.err)


def test_soft_roce_is_there(bench, fabric, case):
    """Each machine has an active RoCE v2 device with an address of its own and a path MTU of 4096."""
    for name, machine in bench.machines.items():
        state = machine.run("rdma", "link").out
        case.verify(f"{name}: rxe0 is active", "rxe0/1 state ACTIVE" in state, state)
        info = machine.run("ibv_devinfo", "-v", "-d", "rxe0").out
        mtu = re.search(r"active_mtu:\s+(\d+)", info)
        case.verify(f"{name}: active MTU 4096", mtu and mtu[1] == "4096", info[:600])


def test_bytes_arrive_whole_both_ways(bench, listener, case):
    """16 MiB each way at once, in 1 MiB writes, every piece with its CRC-32C.

    Steps:
        The probe dials, fetches and gives at once; then closes.
    Verify:
        All came, nothing was wrong; both ends are told once that the link ended; nothing is written afterwards.
    """
    _, events = dial(bench, "--direction", "both", "--mib", 16)
    done = find(events, "done")[0]
    case.verify("16 MiB came and 16 MiB went, all right", (done["fetched_bytes"], done["given_bytes"], done["wrong"]) == (16 << 20, 16 << 20, 0), done)
    case.note(f"{done['fetched_gbit_s'] + done['given_gbit_s']:.3f} Gb/s in both directions together")
    down = find(events, "down")
    case.verify("the dialler's link ended once, by its own close", [each["reason"] for each in down] == ["closed_here"], down)
    there = listener.wait("down")
    case.verify("the listener was told that its peer closed", there["reason"] == "closed_by_peer", there)
    listener.wait("watched")
    case.verify("nothing was written after the end, on either side", is_quiet(events) and is_quiet(listener.events()), listener.events())


def test_no_byte_is_copied(bench, listener, case):
    """What the devices are given is the arena, the granted chunks and the frames: there is nowhere else that content could go through.

    Steps:
        16 MiB both ways. Meanwhile the kernel lists the memory that each process has registered (`rdma resource show mr`).
    Verify:
        By the mover's count each byte was written from its own place in the arena, and landed at its own. By the probe's, each window was the
        granted chunk's own memory. By the kernel's, every memory region is the whole arena, a chunk of the window, or the link's frames.
    """
    alpha, mib, chunk = bench["alpha"], 16, 1 << 20
    with Probe(bench["beta"], "--transport", "rdma", "--dial", address(bench), "--mib", mib, "--direction", "both", "--watch-s", 0) as dialler:
        lengths = set()
        dialler.wait("up")
        while not find(dialler.events(), "done"):
            said = alpha.run("rdma", "-j", "resource", "show", "mr", check=False).out
            lengths |= {region["mrlen"] for region in json.loads(said or "[]") if region.get("pid") == listener.job.pid}
            assert dialler.job.poll() is None or find(dialler.events(), "done"), dialler.events()
        ends = [dialler.wait("done"), listener.wait("done")]
    for name, done in zip(("dialler", "listener"), ends):
        moved = (done["taken_bytes"], done["placed_bytes"], done["copied_bytes"])
        case.verify(f"{name}: 16 MiB taken from their place, 16 MiB put to theirs, none copied", moved == (mib << 20, mib << 20, 0), done)
        case.verify(f"{name}: each window was the granted chunk itself", done["granted_elsewhere"] == 0, done)
    frames = 2 * 2 * 64 * 256  # rdma/link.h: frame_slots to send from, as many to receive into
    wanted = {"the arena": ends[1]["arena_bytes"], "a chunk": chunk, "the frames": frames}
    case.verify(f"the kernel knows regions of these lengths: {wanted}", chunk in lengths and lengths <= set(wanted.values()), lengths)


def test_writes_of_2_mib(bench, listener, case):
    """The largest pieces that sluice has, twice a window of them."""
    _, events = dial(bench, "--direction", "to", "--mib", 32, "--write-bytes", 2 << 20, "--window", 8)
    done = listener.wait("done")
    case.verify("32 MiB came, all right", (done["fetched_bytes"], done["wrong"]) == (32 << 20, 0), done)


def test_a_slot_is_used_again(bench, listener, case):
    """Links one after another: each ends whole before its slot is taken again."""
    _, events = dial(bench, "--mib", 2, "--links", 5, "--watch-s", 0)
    ups, downs = find(events, "up"), find(events, "down")
    case.verify("5 links, one slot, 5 serials", {up["slot"] for up in ups} == {0} and len({up["serial"] for up in ups}) == 5, ups)
    case.verify("each ended once", [down["reason"] for down in downs] == ["closed_here"] * 5, downs)
    case.verify("nothing was wrong", all(done["wrong"] == 0 for done in find(events, "done")), events)


@pytest.mark.parametrize("fault", ("wrong-key", "beyond", "revoked"))
def test_a_forbidden_write_ends_the_link(bench, listener, fault, case):
    """A write with a wrong key, beyond its window, or into a window that was revoked reaches no memory and ends the link.

    Steps:
        The listener writes what the dialler wants; its eleventh write is the forbidden one (or finds its window revoked).
    Verify:
        protection_error where it was written; both links end once; no byte is wrong; nothing is written afterwards; a new link works.
    """
    status, events = dial(bench, "--mib", 32, "--fault", fault, check=False)
    case.verify("the dialler's link ended early", status == 3, (status, events))
    there = listener.wait("down")
    case.verify("the writer was told protection_error", there["reason"] == "protection_error", there)
    notes = " ".join(note["text"] for note in find(listener.events(), "note"))
    case.verify("and its log says why: not a flush error", "remote access error" in notes and "flush" not in notes.lower(), notes)
    ended = find(events, "incomplete")[0]
    case.verify("what came until then was right", ended["wrong"] == 0 and ended["fetched_bytes"] < 32 << 20, ended)
    case.verify("nothing was written after the end", is_quiet(events), events)
    _, again = dial(bench, "--mib", 2, "--watch-s", 0)
    case.verify("the next link works", find(again, "done")[0]["wrong"] == 0, again)


def test_windows_of_soft_roce_have_no_bounds(bench, fabric, case):
    """Why sluice grants memory regions on rxe, though it has memory windows of type 2B: they bind, but a write beyond one goes through.

    Should this case fail, rxe keeps to the bounds by now, and windows_are_unbounded() (lib/rdma/device.cc) may go.
    """
    words = ("--transport", "rdma", "--listen", f":{PORT}", "--trust-windows")
    with Probe(bench["alpha"], *words) as running:
        case.verify("windows are used when told to trust them", "a memory window for each grant" in running.wait("ready")["description"], "")
        _, events = dial(bench, "--trust-windows", "--direction", "both", "--mib", 8)
        done = find(events, "done")[0]
        case.verify("binding, writing and invalidating work: 8 MiB each way, all right",
                    (done["fetched_bytes"], done["given_bytes"], done["wrong"]) == (8 << 20, 8 << 20, 0), done)
        status, events = dial(bench, "--trust-windows", "--mib", 32, "--fault", "wrong-key", check=False)
        case.verify("a wrong key is refused", status == 3, events)
        status, events = dial(bench, "--trust-windows", "--mib", 32, "--fault", "revoked", check=False)
        case.verify("so is a window that was invalidated", status == 3, events)
        status, events = dial(bench, "--trust-windows", "--mib", 32, "--fault", "beyond", check=False)
        wrong = max(each["wrong"] for each in find(events, "done") + find(events, "incomplete"))
        case.verify("but a write beyond the window lands, in another grant's memory", wrong > 0, events)


@pytest.mark.parametrize("who", ("the one that writes", "the one that is written to"))
def test_a_peer_is_killed_in_mid_write(bench, listener, who, case):
    """SIGKILL to a peer while writes are under way: the other's link ends, once, and its memory is its own again."""
    direction = "from" if who == "the one that writes" else "to"
    with Probe(bench["beta"], "--transport", "rdma", "--dial", address(bench), "--mib", 4000, "--direction", direction,
               "--watch-s", 3) as dialler:
        dialler.wait("up")
        time.sleep(2)
        listener.job.signal(signal.SIGKILL)
        killed = time.monotonic()
        down = dialler.wait("down")
        case.note(f"told after {time.monotonic() - killed:.1f} s")
        # Its regions may be gone before its queue pairs: then a write finds a key that is none.
        case.verify("the other's link ended", down["reason"] in ("closed_by_peer", "unreachable", "protection_error"), down)
        watched = dialler.wait("watched")
        case.verify("nothing is written after the end", watched["written_after_the_end"] is False, watched)
        case.verify("once", len(find(dialler.events(), "down")) == 1, dialler.events())


def test_a_peer_stands_still(bench, listener, case):
    """SIGSTOP to a peer for some seconds in mid-transfer costs time and nothing else: its device goes on acknowledging.

    (How long a silent peer is borne is the Node's matter: its pings.)
    """
    with Probe(bench["beta"], "--transport", "rdma", "--dial", address(bench), "--mib", 24, "--direction", "both",
               "--watch-s", WATCH) as dialler:
        dialler.wait("up")
        time.sleep(0.5)
        listener.job.signal(signal.SIGSTOP)
        time.sleep(6)
        case.verify("no link ended meanwhile", not find(dialler.events(), "down"), dialler.events())
        listener.job.signal(signal.SIGCONT)
        done = dialler.wait("done")
        case.verify("all came and was right", (done["fetched_bytes"], done["wrong"]) == (24 << 20, 0), done)


def test_the_cable_is_cut_in_mid_write(bench, listener, case):
    """The cable is pulled while both write: both links end within the retries, and a new link works when it is back."""
    nic = bench.nic("fabric", "alpha")
    with Probe(bench["beta"], "--transport", "rdma", "--dial", address(bench), "--mib", 4000, "--direction", "both",
               "--watch-s", 3) as dialler:
        dialler.wait("up")
        time.sleep(2)
        bench["alpha"].set_link(nic, False)
        cut = time.monotonic()
        try:
            here, there = dialler.wait("down"), listener.wait("down")
        finally:
            bench["alpha"].set_link(nic, True)
        case.note(f"both were told after {time.monotonic() - cut:.1f} s: {here['reason']} far from the cut, {there['reason']} at it")
        case.verify("the reason is the network's", {here["reason"], there["reason"]} <= {"unreachable", "device_error"}, (here, there))
        case.verify("nothing was written after the end", dialler.wait("watched")["written_after_the_end"] is False, "")
    time.sleep(2)
    _, again = dial(bench, "--mib", 4)
    case.verify("the next link works", find(again, "done")[0]["wrong"] == 0, again)


def test_nothing_listens_there(bench, fabric, case):
    """A dial to a port where nobody listens fails soon, and says so."""
    status, events = dial(bench, check=False)
    why = find(events, "dial_failed")[0]["why"]
    case.verify("it says that nothing listens", status == 3 and "nothing listens there" in why, events)


def delete_device(machine, seconds=30):
    """Returns after how many seconds the kernel had removed it; None: it waits for somebody to let go of it."""
    started = time.monotonic()
    deleting = machine.start_job("rdma", "link", "delete", "rxe0")
    gone = deleting.wait(seconds) == 0 and "rxe0" not in machine.run("rdma", "link").out
    return time.monotonic() - started if gone else None


def test_a_device_is_removed_in_mid_write(bench, listener, case):
    """`rdma link delete` while both write: both links end, the kernel has its device at once; with another, the same process listens again.

    Here ib_uverbs is told before rdma_cm, and waits (rxe cannot be taken from a program): no event comes, sysfs says it. In suite replica
    it is the other way round.
    """
    alpha = bench["alpha"]
    with Probe(bench["beta"], "--transport", "rdma", "--dial", address(bench), "--mib", 4000, "--direction", "both", "--watch-s", 3) as dialler:
        dialler.wait("up")
        time.sleep(2)
        took = delete_device(alpha)
        case.verify("the device is gone, and nobody had to end for it", took is not None, listener.events())
        case.note(f"rdma link delete took {took:.1f} s")
        there, here = listener.wait("down"), dialler.wait("down")
        case.verify("the reason there is the device", there["reason"] == "device_error", there)
        case.verify("the other end is told, too", here["reason"] in ("closed_by_peer", "unreachable"), here)
        case.verify("nothing was written after the end", dialler.wait("watched")["written_after_the_end"] is False, "")
    listener.wait("watched")
    case.verify("nor there", is_quiet(listener.events()), listener.events())
    case.verify("RDMA is not usable there any more", find(listener.events(), "transport")[-1]["usable"] is False, listener.events())
    alpha.run("rdma", "link", "add", "rxe0", "type", "rxe", "netdev", bench.interfaces["alpha"]["fabric"][0])
    state = listener.wait("transport", count=len(find(listener.events(), "transport")) + 1) if not \
        find(listener.events(), "transport")[-1]["usable"] else find(listener.events(), "transport")[-1]
    case.verify("it is usable again with another device", state["usable"] is True, state)
    _, again = dial(bench, "--mib", 8, "--direction", "both")
    case.verify("and moves 8 MiB each way", find(again, "done")[0]["wrong"] == 0, again)


def test_a_device_that_comes_after_the_start(bench, fabric, case):
    """A process that was started without a device uses one when it comes, to listen and to dial."""
    alpha, beta = bench["alpha"], bench["beta"]
    for machine in (alpha, beta):
        case.verify(f"{machine.name}'s device is deleted", delete_device(machine) is not None)
    words = ("--transport", "rdma", "--may-be-absent")
    with Probe(alpha, *words, "--listen", f":{PORT}") as listening, \
            Probe(beta, *words, "--dial", address(bench), "--mib", 8, "--direction", "both", "--watch-s", 0) as dialling:
        case.verify("both say that there is none", all(not each.wait("transport")["usable"] for each in (listening, dialling)))
        for name, probe in (("alpha", listening), ("beta", dialling)):
            bench[name].run("rdma", "link", "add", "rxe0", "type", "rxe", "netdev", bench.interfaces[name]["fabric"][0])
            case.verify(f"{name} has one", probe.wait("transport", count=2)["usable"] is True, probe.events())
        done = dialling.wait("done")
        case.verify("8 MiB each way, all right", (done["fetched_bytes"], done["given_bytes"], done["wrong"]) == (8 << 20, 8 << 20, 0), done)


def gid_index(machine, ip):
    """The index of the RoCE v2 GID of an IPv4 address."""
    wanted = "0000:0000:0000:0000:0000:ffff:{:02x}{:02x}:{:02x}{:02x}".format(*map(int, ip.split(".")))
    found = machine.shell(f"cd /sys/class/infiniband/rxe0/ports/1; for i in $(seq 0 15); do [ \"$(cat gids/$i 2>/dev/null)\" = {wanted} ] && "
                          "grep -q v2 gid_attrs/types/$i && echo $i; done; true").split()
    return found[-1]


def ib_write_bw(bench, mib):
    """Returns Gb/s of perftest from beta to alpha, in 1 MiB writes, with as many under way and the same time-out as sluice has.

    (With its own time-out of 67 ms rxe sends again on busy cores, and now and then ends in error 9: then it is run again.)
    """
    alpha, beta = bench["alpha"], bench["beta"]
    words = ("ib_write_bw", "-d", "rxe0", "-s", 1 << 20, "-n", mib, "-t", 16, "-u", 17, "-F", "--report_gbits")
    for _ in range(4):
        server = alpha.start_job(*words, "-x", gid_index(alpha, bench.nic("fabric", "alpha").ip()))
        time.sleep(3)
        done = beta.run(*words, "-x", gid_index(beta, bench.nic("fabric", "beta").ip()), bench.nic("fabric", "alpha").ip(),
                        timeout=PATIENCE, check=False)
        server.stop(5)
        if done.rc == 0:
            return float(re.findall(r"^\s*1048576\s+\d+\s+[\d.]+\s+([\d.]+)", done.out, re.M)[0])
    raise AssertionError(f"ib_write_bw fails every time: {done.out[-600:]}{done.err[-300:]}")


def test_beside_ib_write_bw(bench, fabric, case):
    """1 MiB writes with every checksum on, beside perftest's ib_write_bw on the same pair, taking turns.

    Verify:
        At least 80 % of it, by the medians of five (the aim is 95 %; an emulated machine on shared cores is no place for more).
    """
    mib, rounds = 20, 5
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(ib_write_bw(bench, mib))
        with Probe(bench["alpha"], "--transport", "rdma", "--listen", f":{PORT}") as listening:
            dial(bench, "--direction", "to", "--mib", mib, "--watch-s", 0)
            ours.append(listening.wait("done")["fetched_gbit_s"])
    ratio = statistics.median(ours) / statistics.median(theirs)
    case.note(f"ib_write_bw {sorted(theirs)} Gb/s, sluice {sorted(ours)} Gb/s: {100 * ratio:.0f} % by the medians")
    case.verify("at least 80 % of ib_write_bw", ratio >= 0.8, ratio)
