"""Network namespaces, links in them, and sockets and processes inside. Of tests/integration, and of dts.

A namespace's name carries the process id of who made it, so that a later run can take away what a killed one left (sweep).
"""
import contextlib
import ctypes
import itertools
import os
import pathlib
import re
import socket
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_counter = itertools.count()


class Namespace:
    """A network namespace with a unique name; `close` removes it and with it every link inside."""

    def __init__(self, purpose, prefix="sl-test-"):
        self.name = f"{prefix}{os.getpid()}-{next(_counter)}-{purpose}"
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def close(self):
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)

    def ip(self, *words):
        run("ip", "-n", self.name, *words)

    def command(self, *words):
        """The words that run a command inside."""
        return ["ip", "netns", "exec", self.name, *(str(word) for word in words)]

    def run(self, *words, timeout=60, check=True, **options):
        """Runs a command inside and returns its subprocess.CompletedProcess, output captured as bytes."""
        done = subprocess.run(self.command(*words), capture_output=True, timeout=timeout, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n"
                                 f"{done.stdout[-2000:].decode(errors='replace')}"
                                 f"{done.stderr[-2000:].decode(errors='replace')}")
        return done

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is inside. Sockets made here stay inside for good."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            setns(there)
            yield
        finally:
            setns(home)
            os.close(there)
            os.close(home)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        with self.entered():
            return socket.socket(family, kind, protocol)

    def filter(self, hook, *rules):
        """Puts nftables rules on a hook (input, output), instead of those of an earlier call; none: lifts them."""
        self.run("nft", "flush", "ruleset")
        if rules:
            lines = ["table inet sluice {", "chain c {", f"type filter hook {hook} priority 0;", *rules, "}", "}", ""]
            self.run("nft", "-f", "-", input="\n".join(lines).encode())


def sweep(prefix):
    """Takes away the namespaces of processes that are no more. Returns their names."""
    swept = []
    folder = pathlib.Path("/run/netns")
    for path in folder.glob(f"{prefix}*") if folder.exists() else ():
        found = re.match(rf"{prefix}(\d+)-", path.name)
        if found and not pathlib.Path(f"/proc/{found[1]}").exists():
            subprocess.run(["ip", "netns", "delete", path.name], capture_output=True)
            swept.append(path.name)
    return swept


def setns(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def disable_ipv6(namespace, link):
    namespace.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{link}/disable_ipv6")


def carry_everything(namespace):
    """Bridges of this namespace carry every frame: br_netfilter, where the kernel has it, drops packets whose IPv4 header is wrong."""
    for table in ("iptables", "ip6tables", "arptables"):
        namespace.run("sh", "-c", f"f=/proc/sys/net/bridge/bridge-nf-call-{table}; [ ! -e $f ] || echo 0 > $f")


def quiet_kernel_side(namespace, link):
    """Makes the kernel's end write complete checksums: the other end is read raw (DESIGN, facts)."""
    namespace.run("ethtool", "-K", link, "tx", "off")
