"""Pktgen-DPDK in a machine, where the user has it (docs/testbed.md), driven by the Lua scripts of dts/pktgen.

It sends out of a packet socket of the client's interface, so that a client's downloads go on beside it. It wants a terminal, two cores
(one for itself, one for the port) and 700 MB of memory.
"""
import os
import pathlib
import re
import shutil

from testbed.server import INSTANCE_PREFIX, ROOT
from testbed.traffic import Accounts, Downloads, client_syns, missed

FOLDER = ROOT / "dts" / "pktgen"
# Of each script there: how many frames it is asked for, and in turns of which counters it moves.
SCRIPTS = {
    "small_udp": (20_000, ("inet_drop_udp",)),
    "syn_flood": (10_000, ("tcp_syn_received",)),
    "mixed": (20_000, ("inet_drop_udp", "inet_drop_frame_group", "inet_drop_not_for_us", "inet_drop_icmp_checksum", "tcp_refused_unknown")),
}
ON_TERMINAL = ROOT / "dts" / "testbed" / "on_terminal.py"
VARIABLE = "SLUICE_PKTGEN"
MEMORY_MIB = 1500  # what its pools for one port ask for; they touch half of it
SECONDS_MAX = 300


def find_pktgen_dpdk():
    """(program, None), or (None, why there is none)."""
    named = os.environ.get(VARIABLE) or shutil.which("pktgen")
    if not named:
        return None, f"Pktgen-DPDK is missing: no pktgen on PATH, {VARIABLE} is not set (docs/testbed.md says how to build it)"
    program = pathlib.Path(named).resolve()
    if not os.access(program, os.X_OK):
        return None, f"Pktgen-DPDK is missing: {named} cannot be run"
    if b"liblua" not in program.read_bytes():
        return None, f"{named} was built without Lua (meson setup -Denable_lua=true)"
    return program, None


class PktgenDpdk:
    def __init__(self, program, machine, interface, here, target, target_mac):
        """here: the client's topology.Nic on the link; target: the server's address there."""
        self._machine = machine
        self._name = f"{INSTANCE_PREFIX}{os.getpid()}-pktgen"
        self._words = (program, "-l", "0,1", "--no-pci", "--no-huge", "-m", MEMORY_MIB, "--no-shconf", "--no-telemetry", "--file-prefix", self._name,
                       f"--vdev=net_af_packet0,iface={interface},qdisc_bypass=0", "--", "-T", "-P", "-m", "1.0")
        self._target = {"SLUICE_TARGET_MAC": target_mac, "SLUICE_TARGET": target, "SLUICE_SOURCE_MAC": here.mac, "SLUICE_SOURCE": here.ip()}

    def send(self, script, count):
        """Runs dts/pktgen/SCRIPT.lua. Returns how many frames the port says that it sent."""
        result = f"/run/{self._name}.result"
        environment = {**self._target, "SLUICE_COUNT": str(count), "SLUICE_RESULT": result, "TERM": "dumb"}
        done = self._machine.run("python3", "-I", ON_TERMINAL, SECONDS_MAX, *self._words, "-f", FOLDER / f"{script}.lua", env=environment,
                                 timeout=SECONDS_MAX + 60, check=False)
        said = self._machine.shell(f"cat {result}; rm -rf {result} /var/run/dpdk/{self._name}", check=False)
        sent = re.fullmatch(r"sent (\d+)\n", said)
        assert done.rc == 0 and sent, f"{script}.lua: exit status {done.rc}, {said or 'nothing was reported'}: {done.out[-1500:]}"
        return int(sent[1])


def verify_pktgen_dpdk(program, bench, served, tree, link, script, case, lost, times=1):
    """Sends a script's frames while a client downloads; every frame is found again.

    lost(): frames that queues between the two have dropped, by their own count. times: as many frames, but for SYNs: the same one
    again would be none for sluice.
    """
    client, interface, nic = bench["client"], bench.interfaces["client"][link][0], bench.nic(link, "server")
    pktgen = PktgenDpdk(program, client, interface, bench.nic(link, "client"), nic.ip(), served.port_facts()[link]["mac"])
    asked, counters = SCRIPTS[script]
    asked *= 1 if script == "syn_flood" else times
    accounts, ours, before = Accounts(served, link), client_syns(client), lost()
    downloads = Downloads(bench, link, tree)
    sent = pktgen.send(script, asked)
    accounts.settled(lambda moved: sum(moved[counter] for counter in counters) + missed(moved) + lost() - before, sent)
    count, exact = downloads.finish()
    moved, ours, dropped = accounts.moved(), client_syns(client) - ours, lost() - before
    counted = {counter: moved[counter] - (ours if counter == "tcp_syn_received" else 0) for counter in counters}
    case.note(f"{sent} sent: {', '.join(f'{counter} +{value}' for counter, value in counted.items())}, without {ours} SYNs of the client; the "
              f"device missed {missed(moved)}, queues before it dropped {dropped}")
    case.verify(f"{exact} of {count} downloads during it were exact", count > 0 and exact == count)
    case.verify(f"all {asked} went out; counted, missed and dropped are what was sent",
                sent == asked and sum(counted.values()) + missed(moved) + dropped == sent, (sent, counted, missed(moved), dropped))
    # (Pktgen takes the frames of a sequence out of a pool, in whatever order they have come back to it.)
    share = (sent - missed(moved) - dropped) // len(counters)
    case.verify(f"each of {len(counters)} parts was counted", min(counted.values()) > share // 2, counted)
