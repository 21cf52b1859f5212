"""Links: delay, loss and reordering; a cable pulled during a download; a NIC removed; a machine killed and started again."""
import time

import pytest

from testbed.server import HOST_SETUP, Sluiced, name_interfaces

TOPOLOGY = "trouble"
PAGES = 150
SMALL = ("--polling", "adaptive", "--max-connections", "200", "--max-objects", "500")
NAME = "4194301.bin"


def prepare(bench, links):
    """Binds the server's NICs of these links; returns what Sluiced wants."""
    server = bench["server"]
    words = [word for link in links for word in ("--bind", bench.interfaces["server"][link][1])]
    server.run(HOST_SETUP, "--hugepages", PAGES, *words, timeout=120)
    return [(bench.nic(link, "server"), bench.interfaces["server"][link][1]) for link in links]


def serve(bench, ports, tree):
    return Sluiced(bench["server"], ports, tree.folder, cache="32M", arguments=SMALL)


def fetch(bench, tree, link, family=4, seconds=150):
    url = bench.nic(link, "server").url(NAME, family)
    got = bench["client"].shell(f"curl -g -sS --fail --max-time {seconds} '{url}' | sha256sum", timeout=seconds + 30).split()[0]
    return got == tree.digests[NAME]


@pytest.mark.parametrize("what, netem", [
    ("delay 20 ms +- 5 ms, loss 2 %", "delay 20ms 5ms loss 2%"),
    ("reordering of a quarter of the frames", "delay 10ms reorder 75% 50%"),
    ("corruption of 1 % of the frames, 1 % twice", "delay 5ms corrupt 1% duplicate 1%")])
def test_bad_links(bench, tree, case, what, netem):
    """netem on the client's side, both ways: the bytes arrive whole, and the trouble was real.

    Steps:
        netem on what the client sends and, through an ifb, on what it receives. Download 4 MB over IPv4 and IPv6.
    Verify:
        Digests; netem changed frames (its own count); retransmissions where frames were lost.
    """
    client, interface = bench["client"], bench.interfaces["client"]["virtio"][0]
    with serve(bench, prepare(bench, ["virtio"]), tree) as running:
        client.shell(f"modprobe sch_netem; modprobe ifb numifbs=0; modprobe act_mirred; modprobe sch_ingress; modprobe cls_matchall; "
                     f"ip link add ifb9 type ifb; ip link set ifb9 up; tc qdisc add dev {interface} ingress; "
                     f"tc filter add dev {interface} parent ffff: matchall action mirred egress redirect dev ifb9; "
                     f"tc qdisc add dev ifb9 root netem {netem}; tc qdisc add dev {interface} root netem {netem}", timeout=60)
        try:
            case.verify(f"IPv4 over {what}: 4 MB arrived whole", fetch(bench, tree, "virtio"))
            case.verify(f"IPv6 over {what}: 4 MB arrived whole", fetch(bench, tree, "virtio", 6))
            said = client.shell("tc -s qdisc show dev ifb9")
            stats = running.stats()
            case.note(f"netem: {' '.join(said.split()[:40])}")
            case.note(f"retransmitted {stats['tcp_retransmitted_segments']} segments; wrong checksums dropped {stats['inet_drop_tcp_checksum']}")
            if "loss" in netem:
                case.verify("frames were lost and sent again", stats["tcp_retransmitted_segments"] > 0)
        finally:
            client.shell(f"tc qdisc delete dev {interface} root; tc qdisc delete dev {interface} ingress; ip link delete ifb9")


def test_the_cable_is_pulled_during_a_download(bench, tree, case):
    """Out for three seconds while 4 MB are under way: the download goes on when it is back.

    Steps:
        Slow the download down to last some seconds; pull the server's cable, wait 3 s, put it back.
    Verify:
        The link was seen down; the download is exact; timers, not resets, brought it back.
    """
    nic = bench.nic("virtio", "server")
    with serve(bench, prepare(bench, ["virtio"]), tree) as running:
        job = bench["client"].start_job("bash", "-c", f"curl -sS --fail --limit-rate 600k --max-time 150 {nic.url(NAME)} | sha256sum")
        time.sleep(2)
        bench["server"].set_link(nic, False)
        time.sleep(3)
        down = not running.port_facts()["virtio"]["link_up"]
        bench["server"].set_link(nic, True)
        code = job.wait(160)
        case.verify("the link was seen down", down)
        case.verify("the download ended well and is exact", code == 0 and job.output().split()[0] == tree.digests[NAME], (code, job.output()))
        stats = running.stats()
        case.verify("no connection was reset", stats["tcp_aborted"] == 0 and stats["tcp_reset_by_peer"] == 0)


def test_a_nic_is_removed(bench, tree, case):
    """One of two NICs is taken away (its hot-plug slot's button): the other serves on, and sluiced ends well.

    Steps:
        sluiced on both NICs. Ask for the removal of one. Download over the other. SIGTERM.
    Verify:
        The download is exact; sluiced still runs afterwards; its exit status is 0; then the NIC is gone.
    """
    server, gone = bench["server"], bench.nic("e1000e", "server")
    with serve(bench, prepare(bench, ["virtio", "e1000e"]), tree) as running:
        case.verify("both serve", fetch(bench, tree, "virtio") and fetch(bench, tree, "e1000e"))
        server.unplug(gone)
        time.sleep(6)  # the slot's button blinks for five seconds before the kernel acts (PCIe base specification, 6.7.1.5)
        case.verify("the other NIC's download is exact", fetch(bench, tree, "virtio"))
        case.verify("sluiced runs", running.is_running(), running.logged()[-1000:])
        status = running.stop()
        case.verify("exit status 0", status == 0, (status, running.logged()[-1500:]))
    deadline = time.monotonic() + 60
    while gone.id in server.plugged() and time.monotonic() < deadline:
        time.sleep(1)
    case.verify("the NIC is gone", gone.id not in server.plugged())


def test_a_machine_is_killed_and_started_again(bench, tree, case):
    """The server's plug is pulled during a download; started again it serves the same bytes.

    Steps:
        Kill the server machine while the client downloads. Start it, set it up, start sluiced. Download.
    Verify:
        The client's download fails and does not deliver wrong bytes; afterwards the download is exact.
    """
    server, client, nic = bench["server"], bench["client"], bench.nic("virtio", "server")
    with serve(bench, prepare(bench, ["virtio"]), tree):
        job = client.start_job("curl", "-sS", "--fail", "--limit-rate", "300k", "--max-time", 30, "-o", "/run/part", nic.url(NAME))
        time.sleep(3)
        server.kill()
    code = job.wait(60)
    part = client.read("/run/part")
    case.verify(f"the download failed (curl says {code}) after {len(part)} bytes", code not in (0, None) and len(part) < 4_194_301)
    case.verify("what had arrived is right", part == (tree.folder / NAME).read_bytes()[:len(part)])
    server.start()
    case.note(f"the machine was up again after {server.wait_up():.0f} s")
    bench.interfaces["server"] = name_interfaces(server)
    with serve(bench, prepare(bench, ["virtio"]), tree):
        case.verify("it serves the same bytes", fetch(bench, tree, "virtio"))
