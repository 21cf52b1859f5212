"""A bench: the machines and links of one topology, up for as long as a suite needs them."""
import contextlib
import os
import pathlib
import re
import shutil
import tempfile
import time

from testbed import Unavailable
from testbed.kernel import find_kernel
from testbed.machine import QEMU, Machine
from testbed.wires import Wires, sweep

FOLDER_PREFIX = "sl-dts-"


def missing():
    """Why no machine can be had here; None when they can."""
    for tool, package in ((QEMU, "qemu-system-x86"), ("/sbin/modprobe", "kmod"), ("/bin/busybox", "busybox-static")):
        if not shutil.which(tool):
            return f"{tool} is missing (package {package})"
    if os.geteuid() != 0:
        return "needs root: the machines read the host's files, and links are made in a network namespace"
    if not pathlib.Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    try:
        find_kernel()
    except Unavailable as reason:
        return str(reason)
    return None


class Bench:
    """Boots every machine of a topology at once. Use as a context; everything is gone afterwards."""

    def __init__(self, topology, logs):
        """logs: a folder that keeps the consoles' output."""
        self.topology, self.logs = topology, pathlib.Path(logs)
        self.machines = {}
        self.boot_seconds = 0.0
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            sweep_folders()
            sweep()
            kernel = find_kernel()
            folder = tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir="/tmp")
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            self._stack.callback(self._keep_logs, folder)
            self._stack.callback(Wires(self.topology, folder).close)
            started = time.monotonic()
            for spec in self.topology.machines.values():
                machine = Machine(spec, self.topology.nics(spec.name), kernel, folder)
                self.machines[spec.name] = machine
                self._stack.callback(machine.close)
                machine.start()
            for machine in self.machines.values():
                machine.wait_up()
            self.boot_seconds = time.monotonic() - started
            return self
        except BaseException:
            self._stack.close()
            raise

    def __exit__(self, *_):
        self._stack.close()

    def is_whole(self):
        return all(machine.is_running() for machine in self.machines.values())

    def __getitem__(self, name):
        return self.machines[name]

    def nic(self, link, machine):
        return self.topology.nic(link, machine)

    def _keep_logs(self, folder):
        self.logs.mkdir(parents=True, exist_ok=True)
        for path in [*pathlib.Path(folder).glob("*.console"), *pathlib.Path(folder).glob("*.qemu.log")]:
            if path.stat().st_size:
                shutil.copy(path, self.logs / f"{self.topology.name}-{path.name}")


def sweep_folders():
    """Takes away the folders of runners that are no more."""
    for path in pathlib.Path("/tmp").glob(f"{FOLDER_PREFIX}*"):
        found = re.match(rf"{FOLDER_PREFIX}(\d+)-", path.name)
        if found and not pathlib.Path(f"/proc/{found[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
