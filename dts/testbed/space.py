"""A machine that is a network namespace: no kernel of its own, up at once. It takes what Machine takes, but for what needs hardware.

    server  [sl1: sluiced reads it raw] <-veth-> [c1: the kernel's TCP]  client      models af_packet, af_xdp
    server  [sl1: sluiced's tap] - bridge - [v1] <-veth-> [c1]           client      model tap

Files are the host's own. Jobs end with the runner, however that ends.
"""
import contextlib
import ctypes
import os
import pathlib
import shlex
import signal
import subprocess
import tempfile

from rig.namespace import Namespace, carry_everything, disable_ipv6, quiet_kernel_side

from testbed import MachineLost
from testbed.remote import Done
from testbed.wires import PREFIX

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class SpaceJob:
    """A program that runs on in a namespace."""

    def __init__(self, process, log):
        self._process, self._log = process, pathlib.Path(log)
        self.pid = process.pid

    def poll(self):
        return self._process.poll()

    def wait(self, seconds):
        """Returns the exit status; None: it still runs."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number=signal.SIGTERM):
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def output(self):
        return self._log.read_text(errors="replace")

    def stop(self, seconds=30):
        """Asks it to end, then insists. Returns its exit status (None: it had to be killed)."""
        self.signal(signal.SIGTERM)
        code = self.wait(seconds)
        if code is None:
            self.signal(signal.SIGKILL)
            self.wait(10)
        return code


class Space:
    hugepages = False

    def __init__(self, spec, nics, folder):
        self.spec, self.nics, self.name = spec, nics, spec.name
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{spec.name}-", dir=folder))
        self._namespace = Namespace(spec.name, PREFIX)
        self._jobs = []

    def close(self):
        for job in self._jobs:
            if job.poll() is None:
                job.stop(5)
        self._jobs = []
        if self._namespace:
            self._namespace.close()
        self._namespace = None

    def is_running(self):
        return self._namespace is not None

    # ------------------------------------------------------------------ commands inside
    def run(self, *words, timeout=30, check=True, input=None, env=None):
        """Runs a command to its end. Raises AssertionError when it fails (check) or takes too long."""
        if not self._namespace:
            raise MachineLost(f"namespace {self.name} is gone")
        words = tuple(str(word) for word in words)
        process = subprocess.Popen(self._namespace.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})},
                                   stdin=subprocess.PIPE if input else subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)
        try:
            out, err = process.communicate(input.encode() if isinstance(input, str) else input, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate(timeout=10)
            said = out[-800:].decode(errors="replace")
            raise AssertionError(f"{self.name}: `{shlex.join(words)[:300]}` ran past {timeout} s:\n{said}") from None
        done = Done(words, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
        if check and done.rc != 0:
            raise AssertionError(f"{self.name}: `{shlex.join(words)[:300]}` ended with {done.rc}:\n{done.out[-1500:]}{done.err[-1500:]}")
        return done

    def shell(self, script, **options):
        """Runs a bash script to its end; returns its standard output."""
        return self.run("bash", "-euo", "pipefail", "-c", script, **options).out

    def start_job(self, *words, env=None):
        log = self._folder / f"{len(self._jobs)}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(self._namespace.command(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                       env={**os.environ, **(env or {})}, start_new_session=True, preexec_fn=_die_with_parent)
        self._jobs.append(SpaceJob(process, log))
        return self._jobs[-1]

    def read(self, path):
        return pathlib.Path(path).read_bytes()

    # ------------------------------------------------------------------ cables
    def set_link(self, nic, up):
        """Plugs the cable of an end in or out."""
        self._namespace.ip("link", "set", interface_of(nic), "up" if up else "down")

    def attach(self, nic):
        """Once sluiced has made its tap: to the bridge with it."""
        if nic.model == "tap":
            disable_ipv6(self._namespace, interface_of(nic))
            self._namespace.ip("link", "set", interface_of(nic), "master", f"br{nic.place}", "up")

    @property
    def namespace(self):
        return self._namespace


def interface_of(nic):
    return f"{'c' if nic.model == 'kernel' else 'sl'}{nic.place}"


def port_of(nic):
    """What stands behind sluiced's --port for this end."""
    return f"{nic.model}:{interface_of(nic)}"


def join(link, spaces):
    """Lays the cable between the two ends of a link."""
    server, client = link.ends
    here, there = spaces[server.machine].namespace, spaces[client.machine].namespace
    end = f"v{link.place}" if server.model == "tap" else interface_of(server)
    there.ip("link", "add", interface_of(client), "mtu", link.mtu, "type", "veth", "peer", "name", end, "mtu", link.mtu, "netns", here.name)
    quiet_kernel_side(there, interface_of(client))
    disable_ipv6(here, end)
    if server.model == "tap":
        here.ip("link", "add", f"br{link.place}", "mtu", link.mtu, "type", "bridge", "mcast_snooping", "0")
        disable_ipv6(here, f"br{link.place}")
        carry_everything(here)
        here.ip("link", "set", f"br{link.place}", "up")
        here.ip("link", "set", end, "master", f"br{link.place}")
    here.ip("link", "set", end, "up")
    there.ip("address", "add", client.prefix(4), "dev", interface_of(client))
    there.ip("-6", "address", "add", client.prefix(6), "dev", interface_of(client), "nodad")
    there.ip("link", "set", interface_of(client), "up")


def _die_with_parent():
    with contextlib.suppress(OSError):
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
