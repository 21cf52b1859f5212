"""A machine that is really there, reached by a command such as `ssh root@server`: the agent runs at its other end.

Its NICs are those that the topology names. Needed there: root, python3, DPDK's libraries, and this checkout with its build folder under
the same path. What the agent has started ends with the connection.
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from testbed import MachineLost
from testbed.channel import Channel
from testbed.remote import Remote

AGENT = pathlib.Path(__file__).resolve().parent / "agent.py"
UP_SECONDS_MAX = 60
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Host(Remote):
    hugepages = True

    def __init__(self, spec, nics, folder):
        """folder: for what the connection itself says (ssh's errors)."""
        super().__init__(spec.name)
        self.spec, self.nics = spec, nics
        self._log = pathlib.Path(folder) / f"{spec.name}.reach.log"
        self._process = None

    # ------------------------------------------------------------------ life
    def start(self):
        ours, theirs = socket.socketpair()
        with open(self._log, "ab") as log, theirs:
            self._process = subprocess.Popen([*self.spec.reach, "python3", "-I", AGENT, "-"], stdin=theirs, stdout=theirs, stderr=log,
                                             start_new_session=True, preexec_fn=_die_with_parent)
        self._channel = Channel(ours, self.name)

    def wait_up(self, seconds=UP_SECONDS_MAX):
        try:
            self._channel.wait_ready(seconds, self.is_running)
        except MachineLost as lost:
            raise MachineLost(f"{lost}: {self._log.read_text(errors='replace')[-800:]}") from None
        return 0.0

    def is_running(self):
        return self._process is not None and self._process.poll() is None

    def close(self):
        if self._channel:
            with contextlib.suppress(OSError):
                self._channel.close()  # the agent sees the end, ends its jobs and itself
        if self._process:
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._channel = None

    # ------------------------------------------------------------------ hardware: nobody's hands are there
    def set_link(self, nic, up):
        if not nic.interface or nic.pci:
            pytest.skip(f"{self.name}: nobody pulls the cable of a real NIC that the kernel does not have")
        self.run("ip", "link", "set", nic.interface, "up" if up else "down")

    def _hands(self, *_):
        pytest.skip(f"{self.name} is a real machine: nobody is there to unplug, plug or kill")

    unplug = plug = plugged = kill = _hands


def _die_with_parent():
    with contextlib.suppress(OSError):
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)
