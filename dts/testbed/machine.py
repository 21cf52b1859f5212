"""A machine: one QEMU under software emulation, its console in a file, its agent to talk to.

    machine = Machine(spec, ends, kernel, folder); machine.start(); machine.wait_up()
    machine.run("ip", "link")      machine.shell("...")      job = machine.start_job("sluiced", ...)
    machine.unplug(nic)  machine.set_link(nic, up)  machine.kill()  machine.close()

It has no disk: the host's root is its own, read-only, below a layer of memory. It ends with the runner, however that ends.
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

from testbed import MachineLost
from testbed.channel import Channel
from testbed.qmp import Qmp
from testbed.remote import Remote
from testbed.topology import DPDK_LIBRARIES, MODELS
from testbed.tsc import host_tsc_khz

HERE = pathlib.Path(__file__).resolve().parent
QEMU = "qemu-system-x86_64"
PR_SET_PDEATHSIG = 1
UP_SECONDS_MAX = 600  # 15 s on idle cores
_libc = ctypes.CDLL(None)


class Machine(Remote):
    hugepages = True
    is_emulated = True

    def __init__(self, spec, nics, kernel, folder):
        """spec: topology.MachineSpec; nics: its topology.Nic; folder: for sockets and the console's log."""
        super().__init__(spec.name)
        self.spec, self.nics, self.kernel = spec, nics, kernel
        self.console = pathlib.Path(folder) / f"{spec.name}.console"
        self._folder = pathlib.Path(folder)
        self._process = self._qmp = None
        self._started = 0.0

    # ------------------------------------------------------------------ life
    def start(self):
        """Starts QEMU; the machine is up after wait_up()."""
        # The links' tap descriptors go to QEMU by number.
        passed = [fd for nic in self.nics for fd in nic.descriptors]
        for path in (self._socket("agent"), self._socket("qmp")):
            path.unlink(missing_ok=True)
        with open(self._folder / f"{self.name}.qemu.log", "ab") as log:
            self._process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             pass_fds=passed, start_new_session=True, preexec_fn=_die_with_parent)
        self._started = time.monotonic()
        deadline = time.monotonic() + 60
        while not (self._socket("agent").exists() and self._socket("qmp").exists()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / f"{self.name}.qemu.log").read_text(errors="replace")
                raise MachineLost(f"QEMU of {self.name} does not start: {said.strip()[-800:]}")
            time.sleep(0.05)
        agent = socket.socket(socket.AF_UNIX)
        agent.connect(str(self._socket("agent")))
        self._channel = Channel(agent, f"machine {self.name}")
        self._qmp = Qmp(self._socket("qmp"))

    def wait_up(self, seconds=UP_SECONDS_MAX):
        """Returns after how many seconds it was up."""
        try:
            self._channel.wait_ready(seconds, self.is_running)
        except MachineLost as lost:
            raise MachineLost(f"{lost}; its console ends:\n{self.console_text()[-1500:]}") from None
        return time.monotonic() - self._started

    def is_running(self):
        return self._process is not None and self._process.poll() is None

    def kill(self):
        """As if the plug were pulled: there is nothing on a disk that could suffer."""
        if self._process:
            self._process.kill()
            self._process.wait()
        for part in (self._channel, self._qmp):
            if part:
                with contextlib.suppress(OSError):
                    part.close()
        self._process = self._channel = self._qmp = None
        for kind in ("agent", "qmp"):
            self._socket(kind).unlink(missing_ok=True)

    close = kill

    def console_text(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def pid(self):
        return self._process.pid

    # ------------------------------------------------------------------ hardware
    def set_link(self, nic, up):
        """Plugs the cable of a NIC in or out."""
        self._qmp.command("set_link", name=nic.id, up=up)

    def unplug(self, nic):
        """Asks the machine to let go of a NIC, as a hot-plug slot's button does."""
        self._qmp.command("device_del", id=nic.id)

    def plug(self, nic):
        """Puts a NIC into its slot, which must be empty."""
        self._qmp.command("device_add", **nic.device())

    def plugged(self):
        """The QEMU ids of what is plugged in."""
        return {entry["name"] for entry in self._qmp.command("qom-list", path="/machine/peripheral")}

    # ------------------------------------------------------------------ QEMU's command line
    def _socket(self, kind):
        return self._folder / f"{self.name}.{kind}"

    def command(self):
        spec = self.spec
        append = ["console=ttyS0", "panic=-1", "quiet", "mitigations=off", "nokaslr", "tsc=reliable", "no_timer_check", "nowatchdog",
                  f"sluice.name={spec.name}", f"sluice.stage2={HERE / 'stage2.sh'}",
                  f"sluice.agent={HERE / 'agent.py'}", f"sluice.modules={self.kernel.modules}",
                  f"sluice.pmds={','.join(sorted({*DPDK_LIBRARIES, *(model[2] for model in MODELS.values())}))}"]
        words = [QEMU, "-name", f"sluice-{spec.name}", "-nodefaults", "-display", "none", "-no-reboot", "-no-user-config",
                 "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", str(spec.cores), "-m", str(spec.memory_mib),
                 "-M", "q35,kernel-irqchip=split" if spec.iommu else "q35",
                 "-kernel", str(self.kernel.image), "-initrd", str(self.kernel.initramfs),
                 "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
                 "-qmp", f"unix:{self._socket('qmp')},server=on,wait=off",
                 "-virtfs", "local,path=/,mount_tag=hostroot,security_model=none,multidevs=remap,readonly=on",
                 "-device", "virtio-serial-pci,romfile=",
                 "-chardev", f"socket,id=agent,path={self._socket('agent')},server=on,wait=off",
                 "-device", "virtserialport,chardev=agent,name=sluice.agent"]
        if host_tsc_khz():
            append.append(f"tsc_early_khz={host_tsc_khz()}")
        if spec.iommu:
            words += ["-device", "intel-iommu,intremap=on,caching-mode=on"]
            append += ["intel_iommu=on", "iommu=pt"]
        words += self._nodes() + self._buses()
        for nic in self.nics:
            words += nic.qemu_words()
        return [*words, "-append", " ".join([*append, *spec.kernel_arguments])]

    def _nodes(self):
        spec, words = self.spec, []
        if spec.nodes < 2:
            return words
        memory, cores = spec.memory_mib // spec.nodes, spec.cores // spec.nodes
        for node in range(spec.nodes):
            first = node * cores
            words += ["-object", f"memory-backend-ram,id=m{node},size={memory}M",
                      "-numa", f"node,nodeid={node},cpus={first}-{first + cores - 1},memdev=m{node}"]
        return words

    def _buses(self):
        """A PCI bridge for each node, and a hot-plug port for each NIC, on its node's bridge."""
        words = []
        for node in range(self.spec.nodes if self.spec.nodes > 1 else 0):
            words += ["-device", f"pxb-pcie,id=pxb{node},bus_nr={16 * (node + 1)},bus=pcie.0,numa_node={node}"]
        for number, nic in enumerate(self.nics, 1):
            bus = f"pxb{nic.node}" if self.spec.nodes > 1 else "pcie.0"
            address = "" if self.spec.nodes > 1 else f",addr={0x10 + number:x}"
            words += ["-device", f"pcie-root-port,id={nic.id}-port,bus={bus},chassis={number},slot={number}{address}"]
        return words


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)
