"""What a run leaves behind on its host: nothing. The host as it was before the first bench and as it is after the last, compared.

Others may work beside a run. Ours are: processes that have inherited a variable; files, namespaces and folders with our process id in
their names; mounts, kernel modules, hugepages and interfaces of the host. Whatever else is new is told, and is no failure.
"""
import contextlib
import os
import pathlib
import re

VARIABLE = "SLUICE_DTS_RUN"  # our process id, inherited by whatever we start
FOLDERS = ("/run/netns", "/var/run/dpdk", "/dev/shm", "/dev/hugepages", "/run", "/tmp", "/var/tmp")
KINDS = "processes, namespaces, mounts, kernel modules, hugepages, interfaces, " + ", ".join(FOLDERS[1:])


class Before:
    """The host before a run. Made before anything is started: what is started afterwards inherits the variable."""

    def __init__(self):
        os.environ[VARIABLE] = str(os.getpid())
        self._state = snapshot()

    def leftovers(self):
        """(what of ours is still there, what else is new), as text."""
        state = snapshot()
        new = [(kind, name) for kind, names in state.items() for name in sorted(names - self._state[kind])
               if kind not in FOLDERS or not is_of_the_living(name)]
        ours = [f"{kind} {name}" for kind, name in new if is_ours(kind, name)]
        others = [f"{kind} {name}" for kind, name in new if not is_ours(kind, name)]
        return ours + own_processes(), others


def snapshot():
    """{kind: names}"""
    mounts = (line.split()[4] for line in lines_of("/proc/self/mountinfo"))
    state = {"mount": {path for path in mounts if not path.startswith("/run/netns")},
             "module": {line.split()[0] for line in lines_of("/proc/modules")},
             "interface": set(os.listdir("/sys/class/net")),
             "hugepages": {f"{path}: {path.read_text().strip()}" for path in
                           pathlib.Path("/sys/devices/system/node").glob("node*/hugepages/*/nr_hugepages")}}
    for folder in FOLDERS:
        state[folder] = set()
        with contextlib.suppress(OSError):
            state[folder] = set(os.listdir(folder))
    return state


def lines_of(path):
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text().splitlines()
    return []


def is_ours(kind, name):
    return kind not in FOLDERS or re.search(rf"(?<!\d){os.getpid()}(?!\d)", name) is not None


def is_of_the_living(name):
    """Whether its name has the id of another process that runs: it is that one's, and no remains."""
    return any(int(number) not in (0, 1, os.getpid()) and pathlib.Path(f"/proc/{number}").exists() for number in re.findall(r"\d+", name))


def own_processes():
    """Processes that this one has started, however far down, and that still run."""
    mark, found = f"{VARIABLE}={os.getpid()}".encode(), []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(path.name) != os.getpid() and mark in (path / "environ").read_bytes().split(b"\0"):
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"process {path.name}: {words[:120]}")
    return found
