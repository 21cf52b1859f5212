"""The network as it is: loss, small and large MTUs, routers, VLANs, several ports and addresses."""
import time

import pytest

from conftest import REFERENCE
from rig.client import request
from rig.content import sha256
from rig.namespace import Namespace, disable_ipv6, quiet_kernel_side
from rig.raw import VlanShim
from rig.site import CLIENT, PREFIX, SERVER, Setup, Site

pytestmark = pytest.mark.skipif(bool(REFERENCE), reason="about sluice's own network")


def digest(site, tree, name="medium.bin", family=4, timeout=120):
    got = site.curl(site.url(name, family), timeout=timeout).stdout
    assert sha256(got) == tree.digests[name]


def test_ping(tap_site, family):
    """Small, and as large as fits and larger (fragments are dropped, and do no harm)."""
    done = tap_site.client.run("ping", "-c", "5", "-i", "0.05", "-s", "1400", tap_site.host(family).strip("[]"))
    assert b" 0% packet loss" in done.stdout
    tap_site.client.run("ping", "-c", "2", "-i", "0.05", "-W", "1", "-s", "4000", tap_site.host(family).strip("[]"),
                        check=False)
    assert tap_site.exchange(request("/hello.txt"), family).status == 200


@pytest.mark.parametrize("percent", [1, 5])
@pytest.mark.parametrize("direction", ["input", "output"])
def test_lost_packets(make_site, tree, family, percent, direction, quick):
    site = make_site(Setup())
    site.client.filter(direction, f"meta l4proto tcp numgen random mod 100 < {percent} drop")
    digest(site, tree, "sizes/2097153.bin" if percent > 1 else "medium.bin", family)
    site.client.filter(direction)
    digest(site, tree, "medium.bin", family)


def test_every_first_syn_ack_is_lost(make_site, tree):
    site = make_site(Setup())
    site.client.filter("input", "tcp flags & (syn|ack) == (syn|ack) numgen inc mod 2 == 0 drop")
    for _ in range(3):
        assert site.exchange(request("/hello.txt"), timeout=20).status == 200


@pytest.mark.parametrize("port, mtu", [("tap", 1280), ("af_packet", 1280), ("af_packet", 9000)])
def test_mtu_of_the_port(make_site, tree, family, port, mtu):
    site = make_site(Setup(port=port, arguments=("--mtu", str(mtu)), mtu=mtu))
    digest(site, tree, family=family)


class RoutedSite(Site):
    """client0 <-small MTU-> router <-1500-> sluiced: the router says what fits (ICMP), the server obeys."""

    FAR = {4: "10.8.0.1", 6: "fd08::1"}
    NEAR = {4: "10.8.0.254", 6: "fd08::254"}
    MTU = 1300

    def _make_links(self):
        self.far = Namespace("client")
        self.client = Namespace("router")
        self.far.ip("link", "add", "far0", "mtu", self.MTU, "type", "veth", "peer", "name", "near0", "mtu", self.MTU,
                    "netns", self.client.name)
        for namespace, link, addresses in ((self.far, "far0", self.FAR), (self.client, "near0", self.NEAR)):
            quiet_kernel_side(namespace, link)
            for family in (4, 6):
                extra = ["nodad"] if family == 6 else []
                namespace.ip(f"-{family}", "address", "add", f"{addresses[family]}/{PREFIX[family]}", "dev", link, *extra)
            namespace.ip("link", "set", link, "up")
        self.client.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward; "
                                    "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
        # The client offers an MSS for 1500, so that only the router's messages tell the truth.
        for family in (4, 6):
            self.far.ip(f"-{family}", "route", "add", "default", "via", self.NEAR[family], "advmss", "1440")

    def _wait(self):
        super()._wait()
        self.router, self.client = self.client, self.far

    def close(self):
        code = super().close()
        for namespace in (self.far, getattr(self, "router", None)):
            if namespace:
                namespace.close()
        return code


def test_path_mtu(tree, family):
    setup = Setup(arguments=("--gateway", CLIENT[4], "--gateway", CLIENT[6]))
    site = RoutedSite(setup, tree.root)
    try:
        digest(site, tree, family=family, timeout=60)
        from rig.stats import total
        assert total(site.stats(), "inet_path_mtu_messages") > 0
    finally:
        site.close()


class VlanSite(Site):
    """The client's link is untagged; a shim puts VLAN 42 on what goes to sluiced, and takes it off what comes.

    By hand, because a kernel may have no VLAN devices.
    """

    VLAN = 42
    code = None

    def _make_links(self):
        super()._make_links()
        self.client.ip("link", "add", "client0", "type", "veth", "peer", "name", "shim0")
        quiet_kernel_side(self.client, "client0")
        for link in ("shim0", "client0"):
            self.client.ip("link", "set", link, "up")

    def _address_client(self, link):
        for quiet in (link, "shim0"):
            disable_ipv6(self.client, quiet)
        self.client.ip("link", "set", link, "up")
        self.shim = VlanShim(self.client, untagged="shim0", tagged=link, vlan=self.VLAN)
        super()._address_client("client0")

    def close(self):
        # The shim last: what sluiced still has to say goes through it.
        if self.process and self.process.poll() is None:
            self.code = self.stop()
        if hasattr(self, "shim"):
            self.shim.close()
        super().close()
        return self.code


def test_vlan(tree, family):
    # One worker: the kernel's choice of a tap's queue reads past the tag of a frame that is put there by hand.
    site = VlanSite(Setup(workers=1, arguments=("--vlan", "42")), tree.root)
    try:
        digest(site, tree, "sizes/1048576.bin", family=family)
        assert site.shim.wrong_tags == 0
    finally:
        assert site.close() == 0


class TwoPortSite(Site):
    """Two taps, each with addresses of its own; the same workers serve both."""

    OTHER_CLIENT, OTHER_SERVER = "10.10.0.1", "10.10.0.2"

    def _wait(self):
        deadline = time.monotonic() + 30
        while self.client.run("ip", "link", "show", "sl1", check=False).returncode != 0 and time.monotonic() < deadline:
            assert self.process.poll() is None, self.logged()[-3000:]
            time.sleep(0.05)
        self.client.ip("address", "add", f"{self.OTHER_CLIENT}/24", "dev", "sl1")
        self.client.ip("link", "set", "sl1", "up")
        super()._wait()


def test_two_ports(tree):
    site = TwoPortSite(Setup(arguments=("--port", "tap:sl1", "--ip", f"{TwoPortSite.OTHER_SERVER}/24")), tree.root)
    try:
        digest(site, tree)
        got = site.curl(f"http://{TwoPortSite.OTHER_SERVER}/medium.bin").stdout
        assert sha256(got) == tree.digests["medium.bin"]
    finally:
        assert site.close() == 0


def test_several_addresses_and_http_port(make_site, tree):
    site = make_site(Setup(arguments=("--ip", "10.9.0.3/24", "--ip", "fd09::3/64")))
    for host in ("10.9.0.2", "10.9.0.3", "[fd09::2]", "[fd09::3]"):
        assert site.curl(f"http://{host}/hello.txt").stdout == b"hello, world\n"


def test_an_address_that_is_not_ours_is_not_answered(tap_site):
    done = tap_site.client.run("ping", "-c", "1", "-W", "1", "10.9.0.77", check=False)
    assert done.returncode != 0


def test_a_port_that_is_closed_resets(tap_site, family):
    with pytest.raises(ConnectionRefusedError):
        tap_site.connect(family, timeout=3, port=81)


def test_the_neighbour_changes_its_mac(make_site, tree):
    site = make_site(Setup(port="af_packet"))
    digest(site, tree, "hello.txt")
    site.client.ip("link", "set", "client0", "address", "02:00:00:00:77:01")
    site.client.run("ping", "-c", "1", "-W", "5", SERVER[4], check=False)
    digest(site, tree, "hello.txt", timeout=30)


def test_the_link_goes_and_comes_back(make_site, tree):
    site = make_site(Setup())
    with site.connect(timeout=30) as connection:
        connection.send(request("/medium.bin"))
        connection.read_head()
        site.client.ip("link", "set", "sl0", "down")
        time.sleep(1)
        site.client.ip("link", "set", "sl0", "up")
        site.client.run("sh", "-c", f"ip -6 address add {CLIENT[6]}/64 dev sl0 nodad 2>/dev/null || true")
        expected = (tree.root / "medium.bin").stat().st_size
        while len(connection.buffer) < expected:
            connection._more()
        assert sha256(connection.buffer) == tree.digests["medium.bin"]


