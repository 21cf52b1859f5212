"""Network namespaces and the two kinds of link between them: emulated (sluice-link) and plain (veth)."""
import itertools
import json
import os
import pathlib
import subprocess

_numbers = itertools.count()


def run(*words, check=True, timeout=120, **options):
    done = subprocess.run([str(word) for word in words], text=True, capture_output=True, timeout=timeout, **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


class Space:
    """A network namespace; close() removes it and its links."""

    # Buffers as large as a long path needs; nothing remembered of earlier connections; a real server's queues. A sysctl
    # that this kernel does not have in a namespace is left alone.
    SYSCTLS = {"net.ipv4.tcp_wmem": "4096 65536 33554432", "net.ipv4.tcp_rmem": "4096 131072 33554432",
               "net.ipv4.tcp_no_metrics_save": "1", "net.core.somaxconn": "8192", "net.ipv4.tcp_max_syn_backlog": "8192",
               "net.ipv4.ip_local_port_range": "1024 65535", "net.ipv6.conf.all.disable_ipv6": "1",
               "net.ipv6.conf.default.disable_ipv6": "1"}

    def __init__(self, purpose):
        self.name = f"sl-fig-{os.getpid()}-{next(_numbers)}-{purpose}"
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")
        for key, value in self.SYSCTLS.items():
            self.run("sysctl", "-qw", f"{key}={value}", check=False)

    def ip(self, *words, **options):
        return run("ip", "-n", self.name, *words, **options)

    def command(self, *words):
        return ["ip", "netns", "exec", self.name, *(str(word) for word in words)]

    def run(self, *words, **options):
        return run(*self.command(*words), **options)

    def popen(self, *words, **options):
        return subprocess.Popen(self.command(*words), **options)

    def counter(self, device, name):
        """Of /sys/class/net/DEVICE/statistics."""
        return int(self.run("cat", f"/sys/class/net/{device}/statistics/{name}"))

    def receive_on(self, device, core):
        """The receive work of a device's frames is done on this core (RPS)."""
        self.run("sh", "-c", f"for q in /sys/class/net/{device}/queues/rx-*; do echo {1 << core:x} > $q/rps_cpus; done")

    def close(self):
        run("ip", "netns", "del", self.name, check=False)


def veth(one, one_device, other, other_device, mtu=1500):
    """A plain link; both ends without offloads, so that what crosses it is what a wire would carry."""
    run("ip", "link", "add", "name", one_device, "netns", one.name, "type", "veth",
        "peer", "name", other_device, "netns", other.name)
    for space, device in ((one, one_device), (other, other_device)):
        space.run("ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off", "tx", "off")
        space.ip("link", "set", device, "mtu", mtu, "up")


class EmulatedLink:
    """sluice-link between server spaces and one client space. Taps: `s` in each server space, `c` in the client's."""

    TAP_FRAMES = 10000  # between a kernel and the emulator: never the bottleneck

    def __init__(self, tools, servers, client, core=None):
        self.servers, self.client = servers, client
        words = ["taskset", "-c", str(core)] if core is not None else []
        words += [str(tools / "link/sluice-link"), "--realtime", "--client", f"{client.name}:c"]
        for server in servers:
            words += ["--server", f"{server.name}:s"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError("sluice-link did not start")
        for space, device in [(client, "c"), *((server, "s") for server in servers)]:
            space.ip("link", "set", device, "mtu", "1500", "txqueuelen", self.TAP_FRAMES, "up")
        self.refused = 0

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"sluice-link: {line}: {answer or 'it ended'}")
        return answer

    def configure(self, down, up):
        """Keys of sluice_link.cc."""
        for name, values in (("down", down), ("up", up)):
            self.ask(" ".join([name, *(f"{key}={value}" for key, value in values.items())]))
        self.refused = self.kernel_drops()

    def counters(self):
        """Since configure(). `kernel_drops`: frames that never reached the emulator."""
        counters = json.loads(self.ask("counters"))
        counters["kernel_drops"] = self.kernel_drops() - self.refused
        return counters

    def kernel_drops(self):
        ends = [(self.client, "c"), *((server, "s") for server in self.servers)]
        return sum(space.counter(device, "tx_dropped") for space, device in ends)

    def close(self):
        """Returns: whether what it saw was fit to be measured."""
        try:
            self.process.stdin.close()
            return self.process.wait(timeout=10) == 0
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()
            return False


def faults(counters):
    """Why a measurement over an emulated link should not be believed; empty: it should."""
    found = []
    for way in ("down", "up"):
        path = counters[way]
        if path["dropped_pool"]:
            found.append(f"{way}: {path['dropped_pool']} frames had no room in sluice-link")
        if path["late_1ms"] > max(20, path["delivered"] // 100):
            found.append(f"{way}: {path['late_1ms']} of {path['delivered']} frames over 1 ms late, "
                         f"at most {path['late_peak_us']} us")
    for name in ("oversize", "not_written", "kernel_drops"):
        if counters[name]:
            found.append(f"{name}: {counters[name]} frames")
    return found


CORE_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq")


def core_busy_seconds(core, states=("user", "nice", "system", "irq", "softirq")):
    """Time of one core in these states (proc(5), /proc/stat)."""
    for line in pathlib.Path("/proc/stat").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if fields[0] == f"cpu{core}":
            ticks = dict(zip(CORE_STATES, map(int, fields[1:])))
            return sum(ticks[state] for state in states) / os.sysconf("SC_CLK_TCK")
    raise RuntimeError(f"no cpu{core}")
