"""Topologies: machines, their NICs, and the links between them, as a file in dts/topologies describes them.

    title = "..."
    machines = "qemu"                emulated machines
             | "namespaces"          network namespaces: nothing boots; models "tap", "af_packet", "af_xdp" face "kernel"
             | "hosts"               real machines: [machine.NAME] has reach = ["ssh", "root@..."]; an end has pci = "0000:81:00.0" for
                                     sluiced, with mac = "..." where the kernel does not have it, or interface = "ens1f0" for the kernel (with
                                     port = "af_packet:ens1f0" for sluiced all the same); driver = "net_ixgbe" is DPDK's name of it
    [machine.server]                 nodes, cores, memory_mib, iommu, kernel_arguments
    [[link]]                         one cable, or one switch with more than two ends
    name = "vmxnet3"
    kind = "socket"                  frames between two QEMUs over unix sockets; no offloads cross it
         | "tap"                     a bridge in a network namespace: virtio's checksum and segmentation offloads cross it
    mtu = 1500
    ends = [ { machine = "server", model = "vmxnet3", node = 1 }, { machine = "client", model = "virtio" } ]

Addresses follow from the place of the link (10.60.LINK.END, fd60:LINK::END) and MAC addresses likewise.
"""
import os
import pathlib
import tomllib
from dataclasses import dataclass, field

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "topologies"
SERVER_END, CLIENT_END = 2, 1
# A topology of one's own, a path, instead of those of emulated machines.
VARIABLE = "SLUICE_DTS_TOPOLOGY"

# QEMU's device, its kernel module and its library of DPDK, of each model that a topology may name.
MODELS = {
    "virtio": ("virtio-net-pci", "virtio_net", "net_virtio"),
    "vmxnet3": ("vmxnet3", "vmxnet3", "net_vmxnet3"),
    "e1000e": ("e1000e", "e1000e", "net_e1000"),
    "e1000": ("e1000", "e1000", "net_e1000"),
    "e1000-82545em": ("e1000-82545em", "e1000", "net_e1000"),
}
# What a machine has of DPDK's libraries besides; Pktgen-DPDK does not start without net_bond.
DPDK_LIBRARIES = ("bus_pci", "bus_vdev", "mempool_ring", "net_tap", "net_af_packet", "net_bond")
# What an end may be where the machines are namespaces: a port of sluiced, or the kernel's TCP.
SPACE_MODELS = ("tap", "af_packet", "af_xdp", "kernel")


@dataclass(frozen=True)
class MachineSpec:
    name: str
    nodes: int = 1
    cores: int = 2
    memory_mib: int = 768
    iommu: bool = False
    kernel_arguments: tuple = ()
    reach: tuple = ()  # hosts: the command that runs another there


@dataclass
class Nic:
    """One end of a link."""

    link: str
    machine: str
    kind: str
    place: int  # of the link
    end: int
    model: str = ""
    node: int = 0
    mtu: int = 1500
    queues: int = 1
    options: str = ""  # to QEMU's device as they are
    socket: str = ""  # kind socket: what goes behind "-netdev dgram,id=..,"
    descriptors: list = field(default_factory=list)  # kind tap
    pci: str = ""  # these five: of real machines
    interface: str = ""
    port: str = ""
    driver: str = ""
    mac: str = ""

    def __post_init__(self):
        if not self.mac and self.model:
            self.mac = f"52:54:00:60:{self.place:02x}:{self.end:02x}"

    @property
    def id(self):
        return f"{self.link}{self.end}"

    @property
    def module(self):
        return MODELS[self.model][1]

    def ip(self, family=4):
        return f"10.60.{self.place}.{self.end}" if family == 4 else f"fd60:{self.place}::{self.end}"

    def prefix(self, family=4):
        return f"{self.ip(family)}/{24 if family == 4 else 64}"

    def url(self, path, family=4):
        host = self.ip(4) if family == 4 else f"[{self.ip(6)}]"
        return f"http://{host}/{path}"

    def qemu_words(self):
        if self.kind == "tap":
            numbers = ":".join(map(str, self.descriptors))
            netdev = f"tap,id={self.id}-net," + ("fds=" if self.queues > 1 else "fd=") + numbers
        else:
            netdev = f"dgram,id={self.id}-net,{self.socket}"
        device = ",".join(f"{key}={value}" for key, value in self.device().items())
        return ["-netdev", netdev, "-device", device.removeprefix("driver=")]

    def device(self):
        """What QEMU is told of it, on its command line and by device_add."""
        said = {"driver": MODELS[self.model][0], "id": self.id, "netdev": f"{self.id}-net", "bus": f"{self.id}-port", "mac": self.mac,
                "romfile": ""}
        if self.model == "virtio":
            said |= {"disable-legacy": "on", "iommu_platform": "on"}
            if self.mtu != 1500:
                said["host_mtu"] = str(self.mtu)
            if self.queues > 1:
                said |= {"mq": "on", "vectors": str(2 * self.queues + 2)}
        return said | dict(option.split("=") for option in self.options.split(",") if option)


@dataclass
class Link:
    name: str
    kind: str
    place: int
    mtu: int
    ends: list  # of Nic


@dataclass(frozen=True)
class Topology:
    name: str
    title: str
    machines_are: str  # "qemu" or "namespaces"
    machines: dict
    links: dict

    def nic(self, link, machine):
        """The end that a machine has of a link."""
        return next(nic for nic in self.links[link].ends if nic.machine == machine)

    def nics(self, machine):
        return [nic for link in self.links.values() for nic in link.ends if nic.machine == machine]


def read_topology(name):
    """Reads dts/topologies/NAME.toml; a path with .toml at its end is one."""
    path = pathlib.Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    with open(path, "rb") as file:
        text = tomllib.load(file)
    machines = {key: MachineSpec(name=key, **{name: tuple(field) if isinstance(field, list) else field for name, field in value.items()})
                for key, value in text["machine"].items()}
    machines_are = text.get("machines", "qemu")
    models = {"namespaces": SPACE_MODELS, "qemu": MODELS, "hosts": ("",)}[machines_are]
    made = {}
    for place, entry in enumerate(text["link"], 1):
        common = {"link": entry["name"], "kind": entry.get("kind", "socket"), "place": place, "mtu": entry.get("mtu", 1500)}
        ends = []
        for number, end in enumerate(entry["ends"]):
            role = SERVER_END if number == 0 else CLIENT_END if number == 1 else number + 1
            if end["machine"] not in machines or end.get("model", "") not in models:
                raise ValueError(f"{name}.toml: link {entry['name']}: no machine or model as in {end}")
            if machines_are == "hosts" and not end.get("pci") and not end.get("interface"):
                raise ValueError(f"{name}: link {entry['name']}: neither pci nor interface in {end}")
            ends.append(Nic(**common, end=role, **end))
        made[entry["name"]] = Link(entry["name"], common["kind"], place, common["mtu"], ends)
    return Topology(pathlib.Path(name).stem, text["title"], machines_are, machines, made)


def chosen(name):
    """What a suite's topology is in this run: for a suite of emulated machines, the user's own where there is one."""
    own = os.environ.get(VARIABLE)
    return own if own and read_topology(name).machines_are == "qemu" else name


def links_of(name):
    """The names of a topology's links, for a suite's parameters."""
    return tuple(read_topology(chosen(name)).links)
