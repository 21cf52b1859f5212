"""A lane: one server at the end of one emulated link with one client space. Lanes stand side by side and are used in turn."""
import json

from rig.servers import Nginx, Sluice
from rig.session import kept
from rig.spaces import EmulatedLink, Space, faults

SERVER_IP, CLIENT_IP = "10.77.0.1", "10.77.0.2"
OTHER_SERVER_IP = "10.77.0.3"
MTU_FRAME_BITS = 1514 * 8


class Lane:
    def __init__(self, stack, scratch, tree, arguments, kind, congestion):
        self.kind, self.congestion = kind, congestion
        self.label = f"{kind} {congestion.upper()}"
        self.arguments = arguments
        server, self.client = kept(stack, Space("s")), kept(stack, Space("c"))
        self.link = kept(stack, EmulatedLink(arguments.build / "perf", [server], self.client))
        self.client.ip("addr", "add", f"{CLIENT_IP}/24", "dev", "c")
        self.server = kept(stack, make_server(kind, server, SERVER_IP, tree, scratch, congestion, arguments), "stop")
        self.server.wait(self.client)

    def download(self, seconds, path="large"):
        """curl for so many seconds. Returns: bytes, and the seconds from the connection's standing to the end."""
        text = self.client.run("nice", "-n", "-10", "curl", "-s", "-o", "/dev/null", "-m", seconds, "-w",
                               "%{json}", f"http://{SERVER_IP}/{path}", check=False, timeout=seconds + 30)
        said = json.loads(text)
        return said["size_download"], said["time_total"] - said["time_connect"], said["time_connect"]

    def faults(self):
        return [f"{self.label}: {fault}" for fault in faults(self.link.counters())]


def make_server(kind, space, address, tree, scratch, congestion, arguments):
    if kind == "nginx":
        return Nginx(space, address, tree, scratch, congestion=congestion)
    return Sluice(space, address, tree, scratch, congestion=congestion, build=arguments.build, port=arguments.port)


def conditions(rate, rtt_ms, *, loss=0, burst=1, reorder=0, reorder_frames=8, queue=None, ecn=0, seed=1):
    """Keys of the direction from the servers; queue: bytes, None: the larger of one bandwidth-delay product and 256 KiB."""
    bandwidth_delay = int(rate / 8 * rtt_ms / 1000)
    return {"rate": int(rate), "delay_us": rtt_ms * 500, "queue": queue or max(bandwidth_delay, 256 << 10), "loss": loss,
            "burst": burst, "reorder": reorder, "reorder_us": round(reorder_frames * MTU_FRAME_BITS / rate * 1e6), "ecn": ecn,
            "seed": seed}


def back(rate, rtt_ms):
    """The direction to the servers: the same rate and delay, and nothing is lost."""
    return {"rate": int(rate), "delay_us": rtt_ms * 500, "queue": 1 << 20}
