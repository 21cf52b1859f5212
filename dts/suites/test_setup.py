"""Setup: `sluiced check` finds what is wrong with a machine and names the cure; scripts/host-setup is the cure, and its undoing."""
import re

import pytest

from testbed.server import BUILD, HOST_SETUP, Sluiced

TOPOLOGY = "drivers"
SMALL = ("--cache", "16M", "--max-connections", "200", "--max-objects", "500")
PAGES = 100


def findings(done):
    """The lines of `check` behind its budget: [(level, what, cure), ...] and the verdict."""
    lines = done.out.partition("check:\n")[2].splitlines()
    found = []
    for line in lines[:-1]:
        level, text = line[2:10].strip(), line[11:]
        if not level:
            found[-1] = (*found[-1][:2], text.removeprefix("cure: "))
        else:
            found.append((level, text, ""))
    return found, lines[-1] if lines else done.err


def check(machine, port, *more, user=None):
    """Returns: findings, verdict, exit status."""
    workers = () if "--cores" in more else ("--workers", "1")
    words = [BUILD / "app" / "sluiced", "check", "--root", "/tmp", "--port", port, "--ip", "10.60.1.2/24", *SMALL, *workers, *more]
    if user:
        words = ["setpriv", f"--reuid={user}", "--clear-groups", "--inh-caps=-all", *words]
    done = machine.run(*words, check=False, timeout=120)
    return (*findings(done), done.rc)


def state(machine):
    """What host-setup may change: the driver of each NIC, hugepages of each node."""
    return machine.shell("for i in /sys/bus/pci/devices/*; do echo ${i##*/} $(readlink $i/driver); done; "
                         "cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages")


def undo(bench):
    """As the machine booted; the kernel gives interfaces new names when their driver comes back."""
    bench["server"].run(HOST_SETUP, "--undo", timeout=60)
    bench.name_ends("server")


@pytest.fixture
def nic(bench):
    """(interface, PCI address) of the virtio NIC of the server."""
    return bench.interfaces["server"]["virtio"]


def test_check_names_the_cure_and_the_cure_works(bench, nic, case):
    """From a machine as it booted to one that is ready, by doing what `check` says.

    Steps:
        check; then each command that it gives as a cure; check again.
    Verify:
        First: not ready, exit status 1, the kernel's driver is a blocker. Then: ready, exit status 0, and what it saw of the NIC.
    """
    server, (interface, address) = bench["server"], nic
    found, verdict, rc = check(server, address)
    case.verify("not ready, exit status 1", (verdict[:9], rc) == ("not ready", 1), (verdict, rc))
    blocker = next(each for each in found if each[0] == "BLOCKER")
    case.verify(f"a blocker: {blocker[1]}", f"is at the kernel's virtio-pci as {interface}" in blocker[1], found)
    cures = [each[2] for each in found if each[2].startswith("scripts/host-setup")]
    for cure in cures:
        case.note(f"done as it says: {cure}")
        server.run(*[HOST_SETUP, *cure.split()[1:]], timeout=60)
    found, verdict, rc = check(server, address)
    case.verify("ready, exit status 0", (verdict, rc) == ("ready", 0), (found, verdict))
    text = "\n".join(each[1] for each in found)
    for wanted in (r"at vfio-pci, IOMMU group \d+, 39-bit addresses", r"on NUMA node 0, as are the workers' cores", r"started: net_virtio, MTU 1500",
                   r"1 queue pairs for 1 workers", r"offloads: rx checksum, tx checksum, TCP segmentation, chained mbufs", r"the link is up",
                   r"node 0: \d+ hugepages of 2 MiB are free"):
        case.verify(f"it says: {wanted}", re.search(wanted, text), text)


def test_check_sees_what_else_is_wrong(bench, nic, case):
    """A cable that is out, cores on the other node, a user without rights, a NIC that is in use: each is found.

    Steps:
        check with the cable out; with --cores on the far node; as user 65534; while a sluiced runs on the NIC.
    Verify:
        The finding of each, its cure, and the verdict.
    """
    server, (_, address) = bench["server"], nic
    end = bench.nic("virtio", "server")
    server.run(HOST_SETUP, "--hugepages", PAGES, "--bind", address, timeout=120)
    server.set_link(end, False)
    found, verdict, _ = check(server, address)
    server.set_link(end, True)
    case.verify("cable out: a warning that the link is down", any("the link is down" in each[1] for each in found), found)
    found, _, _ = check(server, address, "--cores", "3", "--no-trial")
    far = [each for each in found if "cores 3 of the workers are not" in each[1]]
    case.verify("--cores 3 is on the other node: a warning that names cores 0-1", far and "0-1" in far[0][2], found)
    found, verdict, rc = check(server, address, user=65534)
    denied = [each for each in found if each[0] == "BLOCKER" and "/dev/vfio" in each[1]]
    case.verify("without rights: a blocker, exit status 1", denied and rc == 1, (found, verdict))
    locked = [each for each in found if each[0] == "BLOCKER" and each[1].startswith("locked memory")]
    case.verify("without rights: the limit on locked memory is a blocker", locked, found)
    with Sluiced(server, [(end, address)], "/tmp", cache="16M", arguments=SMALL[2:]):
        found, verdict, rc = check(server, address)
        busy = [each for each in found if "another process uses it" in each[2]]
        case.verify("while a sluiced runs on it: a blocker that says so", busy and rc == 1, (found, verdict))


def test_host_setup_repeats_and_undoes(bench, case):
    """Twice is as once; --dry-run changes nothing; --undo brings back what was there before the first time.

    Steps:
        --dry-run; apply; apply; --undo --dry-run; --undo.
    Verify:
        Drivers and hugepages after each.
    """
    server = bench["server"]
    undo(bench)
    before = state(server)
    interface, address = bench.interfaces["server"]["e1000e"]
    words = (HOST_SETUP, "--hugepages", f"0={PAGES},1={PAGES}", "--bind", interface)
    said = server.run(*words, "--dry-run", timeout=60).out
    case.verify("--dry-run names the driver's change", f"{address}: e1000e -> vfio-pci" in said, said)
    case.verify("--dry-run changes nothing", state(server) == before)
    server.run(*words, timeout=60)
    once = state(server)
    case.verify("hugepages are there on both nodes", once.split()[-2:] == [str(PAGES)] * 2, once)
    again = server.run(HOST_SETUP, "--hugepages", PAGES, "--bind", address, timeout=60).out
    case.verify("the second time everything is so already", again.count("already") == 3 and state(server) == once, again)
    server.run(HOST_SETUP, "--undo", "--dry-run", timeout=60)
    case.verify("--undo --dry-run changes nothing", state(server) == once)
    server.run(HOST_SETUP, "--undo", timeout=60)
    case.verify("--undo restores drivers and hugepages", state(server) == before, state(server))


def test_host_setup_refuses_what_would_hurt(bench, case):
    """An interface with an address is left alone; a NIC behind no IOMMU too; more pages than there is room for are named.

    Steps:
        Bind an interface that has an address; bind in the client machine, which has no IOMMU; ask for 5,000 hugepages; a name that is none.
    Verify:
        Exit status 1, one line that says what to do, nothing bound.
    """
    undo(bench)
    server, client = bench["server"], bench["client"]
    interface, address = bench.interfaces["server"]["e1000e"]

    def refusal(machine, *words):
        done = machine.run(HOST_SETUP, *words, check=False, timeout=60)
        return done.rc, done.err.strip()

    server.shell(f"ip address add 192.0.2.1/24 dev {interface}; ip link set {interface} up")
    rc, said = refusal(server, "--bind", address)
    case.verify(f"an interface with an address: {said}", rc == 1 and "has an address" in said, said)
    server.shell(f"ip address flush dev {interface}")
    rc, said = refusal(client, "--bind", bench.interfaces["client"]["virtio"][1], "--force")
    case.verify(f"no IOMMU: {said}", rc == 1 and "behind no IOMMU" in said, said)
    rc, said = refusal(server, "--hugepages", "0=5000")
    case.verify(f"too many pages: {said}", rc == 1 and "has room for" in said, said)
    rc, said = refusal(server, "--bind", "eth77")
    case.verify(f"no such NIC: {said}", rc == 1 and "neither a PCI address nor" in said, said)
    server.run(HOST_SETUP, "--undo", timeout=60)
    found, verdict, rc = check(client, bench.interfaces["client"]["virtio"][1])
    case.verify("check in a machine without an IOMMU: not ready", rc == 1, (found, verdict))
