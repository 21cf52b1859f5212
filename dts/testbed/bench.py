"""A bench: the machines and links of one topology, up for as long as a suite needs them."""
import contextlib
import os
import pathlib
import re
import shutil
import tempfile
import time

from rig.namespace import sweep

from testbed import Unavailable
from testbed.host import Host
from testbed.kernel import find_kernel
from testbed.machine import QEMU, Machine
from testbed.server import INSTANCE_PREFIX, address_client, find_real_ends, name_interfaces, unaddress_client
from testbed.space import Space, interface_of, join, port_of
from testbed.wires import PREFIX, Wires

RUNTIME = pathlib.Path("/var/run/dpdk")  # where a sluiced in a namespace has its socket


def missing(machines):
    """Why no bench with these machines ("qemu" or "namespaces") can be had here; None when it can."""
    if os.geteuid() != 0:
        return "needs root: the machines read the host's files, and links are made in a network namespace"
    if not pathlib.Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    if machines == "namespaces":
        return None if shutil.which("ip") else "ip is missing (package iproute2)"
    if machines == "hosts":
        return None
    for tool, package in ((QEMU, "qemu-system-x86"), ("/sbin/modprobe", "kmod"), ("/bin/busybox", "busybox-static")):
        if not shutil.which(tool):
            return f"{tool} is missing (package {package})"
    try:
        find_kernel()
    except Unavailable as reason:
        return str(reason)
    return None


class Bench:
    """Every machine of a topology, up. Use as a context; everything is gone afterwards.

    `interfaces[machine][link]` is (interface, what stands behind --port) of each end, as the kernel named them at boot; the clients
    have their addresses.
    """

    def __init__(self, topology, logs):
        """logs: a folder that keeps the consoles' output."""
        self.topology, self.logs = topology, pathlib.Path(logs)
        self.machines = {}
        self.interfaces = {}
        self.boot_seconds = 0.0
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            sweep_folders()
            sweep(PREFIX)
            folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp")
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
            started = time.monotonic()
            if self.topology.machines_are == "namespaces":
                self._join_namespaces(folder)
            elif self.topology.machines_are == "hosts":
                self._reach(folder)
            else:
                self._boot(folder)
            self.boot_seconds = time.monotonic() - started
            return self
        except BaseException:
            self._stack.close()
            raise

    def _boot(self, folder):
        kernel = find_kernel()
        self._stack.callback(self._keep_logs, folder)
        self._stack.callback(Wires(self.topology, folder).close)
        for spec in self.topology.machines.values():
            machine = Machine(spec, self.topology.nics(spec.name), kernel, folder)
            self.machines[spec.name] = machine
            self._stack.callback(machine.close)
            machine.start()
        for machine in self.machines.values():
            machine.wait_up()
        for name in self.machines:
            self.name_ends(name)

    def _join_namespaces(self, folder):
        for spec in self.topology.machines.values():
            self.machines[spec.name] = Space(spec, self.topology.nics(spec.name), folder)
            self._stack.callback(self.machines[spec.name].close)
        for link in self.topology.links.values():
            join(link, self.machines)
        for name, space in self.machines.items():
            self.interfaces[name] = {nic.link: (interface_of(nic), port_of(nic)) for nic in space.nics}

    def _reach(self, folder):
        for spec in self.topology.machines.values():
            self.machines[spec.name] = host = Host(spec, self.topology.nics(spec.name), folder)
            self._stack.callback(host.close)
            host.start()
            host.wait_up()
            self.interfaces[spec.name] = find_real_ends(host)
            if spec.name != "server":
                self._stack.callback(unaddress_client, host, self.interfaces[spec.name])
                address_client(host, self.interfaces[spec.name])

    def name_ends(self, name):
        """After a machine has booted: what its interfaces are called; a client gets its addresses."""
        machine = self.machines[name]
        if self.topology.machines_are == "hosts":
            return
        self.interfaces[name] = name_interfaces(machine)
        if name != "server":
            address_client(machine, self.interfaces[name])

    def find_end(self, nic):
        """Whether the kernel has made an interface of a NIC that was plugged in; takes down its name."""
        with contextlib.suppress(AssertionError):
            self.interfaces[nic.machine].update(name_interfaces(self.machines[nic.machine], [nic], patience=1))
            return True
        return False

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
    for path in [*pathlib.Path("/tmp").glob(f"{PREFIX}*"), *RUNTIME.glob(f"{INSTANCE_PREFIX}*")]:
        found = re.match(rf"(?:{PREFIX}|{INSTANCE_PREFIX})(\d+)-", path.name)
        if found and not pathlib.Path(f"/proc/{found[1]}").exists():
            shutil.rmtree(path, ignore_errors=True)
