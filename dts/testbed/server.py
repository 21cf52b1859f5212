"""sluiced in a machine: its NICs bound to vfio-pci, started, asked, stopped."""
import json
import os
import pathlib
import signal
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SLUICE_BUILD", ROOT / "build" / "gcc")).resolve()
HOST_SETUP = ROOT / "scripts" / "host-setup"
# A namespace shares the host's /var/run: instances carry the runner's process id.
INSTANCE_PREFIX = "sl-dts-"
INSTANCE = f"{INSTANCE_PREFIX}{os.getpid()}-server"
START_SECONDS_MAX = 240


def name_interfaces(machine, nics=None, patience=50):
    """Loads the kernel's drivers of a machine's NICs (or of some) and notes each one's interface and PCI address.

    Returns: {link: (interface, PCI address)}.
    """
    nics = nics or machine.nics
    for module in sorted({nic.module for nic in nics}):
        machine.run("modprobe", module, timeout=60)
    wanted = {nic.mac: nic.link for nic in nics}
    script = 'for i in /sys/class/net/*; do [ -e $i/device ] && echo "$(cat $i/address) ${i##*/} $(readlink -f $i/device)"; done'
    for _ in range(patience):
        found = {}
        for line in machine.shell(script + "; true").splitlines():
            mac, interface, path = line.split()
            if mac in wanted:
                parts = [part for part in path.split("/") if part.count(":") == 2]
                found[wanted[mac]] = (interface, parts[-1])
        if len(found) == len(wanted):
            return found
        time.sleep(0.2)
    raise AssertionError(f"{machine.name}: only {sorted(found)} of {sorted(wanted.values())} got an interface")


def find_real_ends(host):
    """Notes the MAC address, and the interface or PCI address, of each NIC of a real machine. Returns what name_interfaces() does."""
    found = {}
    for nic in host.nics:
        if not nic.interface:
            nic.interface = host.shell(f"ls /sys/bus/pci/devices/{nic.pci}/net 2>/dev/null || true").strip()
        if nic.interface:
            nic.mac = nic.mac or host.shell(f"cat /sys/class/net/{nic.interface}/address").strip()
        if not nic.mac:
            raise AssertionError(f"{host.name}: {nic.pci} is not with the kernel: the topology must say its mac")
        found[nic.link] = (nic.interface, nic.port or nic.pci)
    return found


def unaddress_client(machine, interfaces):
    """Takes away what address_client() gave."""
    for nic in machine.nics:
        interface = interfaces[nic.link][0]
        machine.shell(f"ip address del {nic.prefix(4)} dev {interface}; ip -6 address del {nic.prefix(6)} dev {interface}", check=False)


def address_client(machine, interfaces):
    """Gives a client's interfaces their addresses and brings them up."""
    for nic in machine.nics:
        interface = interfaces[nic.link][0]
        machine.shell(f"ip address add {nic.prefix(4)} dev {interface}; ip -6 address add {nic.prefix(6)} dev {interface} nodad; "
                      f"ip link set {interface} mtu {nic.mtu} up")


class Sluiced:
    """A sluiced that runs in a machine. Use as a context."""

    def __init__(self, machine, ports, root, *, cache="64M", workers=1, arguments=(), huge=True, instance=INSTANCE, mtu="link",
                 gateway=None):
        """ports: [(Nic, what stands behind --port), ...]; root: a folder as the machine sees it; mtu: None leaves it to sluiced."""
        self.machine, self.ports, self.instance = machine, ports, instance
        self._words = [BUILD / "app" / "sluiced", "serve", "--root", root]
        for nic, spec in ports:
            self._words += ["--port", spec, "--ip", nic.prefix(4), "--ip", nic.prefix(6), *(["--gateway", gateway] if gateway else [])]
            if mtu == "link" and nic.mtu != 1500:
                self._words += ["--mtu", nic.mtu]
        self._words += ["--cache", cache, "--instance", instance, *([] if huge and machine.hugepages else ["--no-huge"]), *arguments]
        if "--cores" not in arguments:
            self._words += ["--workers", workers]
        self._job = None
        self.start_seconds = 0.0

    def __enter__(self):
        self._job = self.machine.start_job(*self._words)
        started = time.monotonic()
        while "ask it: sluicectl" not in self.logged():
            code = self._job.poll()
            if code is not None:
                raise AssertionError(f"sluiced ended with {code}:\n{self.logged()[-3000:]}")
            if time.monotonic() - started > START_SECONDS_MAX:
                self._job.stop(5)
                raise AssertionError(f"sluiced did not start within {START_SECONDS_MAX} s:\n{self.logged()[-3000:]}")
            time.sleep(0.25)
        self.start_seconds = time.monotonic() - started
        if hasattr(self.machine, "attach"):
            for nic, _ in self.ports:
                self.machine.attach(nic)
        return self

    def __exit__(self, *_):
        if self._job and self.machine.is_running() and self._job.poll() is None:
            self.stop()

    def stop(self):
        """Returns its exit status."""
        return self._job.stop(120)

    def kill(self):
        """It ends without a word."""
        self.signal(signal.SIGKILL)
        self._job.wait(10)

    def signal(self, number):
        self._job.signal(number)

    def is_running(self):
        return self._job.poll() is None

    def logged(self):
        return self._job.output()

    @property
    def pid(self):
        return self._job.pid

    def runtime_folder(self):
        """Where its telemetry's socket is, as the machine sees it."""
        return pathlib.Path("/var/run/dpdk") / self.instance

    def control(self, *words, timeout=60, check=False):
        """Runs sluicectl. Returns how it ended."""
        return self.machine.run(BUILD / "app" / "sluicectl", "--instance", self.instance, *words, timeout=timeout, check=check)

    def sluicectl(self, *words, timeout=60):
        return self.control(*words, timeout=timeout, check=True).out

    def stats(self):
        """Every counter, summed: {name: value}."""
        return json.loads(self.sluicectl("stats", "--json"))["total"]

    def port_facts(self):
        """What `sluicectl ports` says, by link."""
        rows = json.loads(self.sluicectl("ports", "--json"))
        rows = list(rows.values()) if isinstance(rows, dict) else rows
        return {nic.link: next(row for row in rows if row["spec"] == spec) for nic, spec in self.ports}
