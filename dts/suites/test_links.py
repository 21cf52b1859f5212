"""Links: delay, loss, reordering; a cable pulled in mid-download; a NIC removed and put back; machines killed and started again."""
import time

import pytest

from testbed.checks import MEDIUM, eventually, fetch, largest
from testbed.server import HOST_SETUP, Sluiced

TOPOLOGY = "trouble"
PAGES = 150
SMALL = ("--polling", "adaptive", "--max-connections", "200", "--max-objects", "500")
MODULES = ("sch_netem", "ifb numifbs=0", "act_mirred", "sch_ingress", "cls_matchall")


def prepare(bench, links):
    """Binds the server's NICs of these links; returns what Sluiced wants."""
    words = [word for link in links for word in ("--bind", bench.interfaces["server"][link][1])]
    bench["server"].run(HOST_SETUP, "--hugepages", PAGES, *words, timeout=120)
    return [(bench.nic(link, "server"), bench.interfaces["server"][link][1]) for link in links]


def serve(bench, ports, tree):
    return Sluiced(bench["server"], ports, tree.folder, cache="32M", arguments=SMALL)


def start_slow_download(bench, tree, link, seconds=8):
    """A download that takes about that long. Returns its Job: the digest is what it prints."""
    rate = int((tree.folder / largest(tree)).stat().st_size / seconds)
    url = bench.nic(link, "server").url(largest(tree))
    return bench["client"].start_job("bash", "-c", f"set -o pipefail; curl -sS --fail --limit-rate {rate} --max-time 150 {url} | sha256sum")


def verify_slow_download(job, tree, case):
    code = job.wait(160)
    case.verify("the download ended well and is exact", code == 0 and job.output().split()[0] == tree.digests[largest(tree)], (code, job.output()))


@pytest.mark.parametrize("what, netem", [
    ("delay of 20 ms +- 5 ms, loss of 2 %", "delay 20ms 5ms loss 2%"),
    ("reordering of a quarter of the frames", "delay 10ms reorder 75% 50%"),
    ("corruption of 3 % of the frames, 1 % twice", "delay 5ms corrupt 3% duplicate 1%")], ids=["loss", "reordering", "corruption"])
def test_bad_links(bench, tree, case, what, netem):
    """netem on the client's side, both ways: the bytes arrive whole, and the trouble was real.

    Steps:
        netem on what the client sends and, through an ifb, on what it receives. Download 4 MB over IPv4, 1 MB over IPv6.
    Verify:
        Digests; netem's own count of frames; where frames were lost or damaged: retransmissions, and wrong checksums seen.
    """
    client, interface = bench["client"], bench.interfaces["client"]["virtio"][0]
    with serve(bench, prepare(bench, ["virtio"]), tree) as running:
        client.shell("".join(f"modprobe {module}; " for module in MODULES) +
                     f"ip link add ifb9 type ifb; ip link set ifb9 up; tc qdisc add dev {interface} ingress; "
                     f"tc filter add dev {interface} parent ffff: matchall action mirred egress redirect dev ifb9; "
                     f"tc qdisc add dev ifb9 root netem {netem} limit 5000; tc qdisc add dev {interface} root netem {netem} limit 5000", timeout=60)
        try:
            case.verify(f"IPv4 over {what}: 4 MB arrived whole", fetch(bench, tree, "virtio"))
            case.verify(f"IPv6 over {what}: 1 MB arrived whole", fetch(bench, tree, "virtio", MEDIUM, 6))
            said = client.shell("tc -s qdisc show dev ifb9")
            frames = int(said.partition(" bytes ")[2].split()[0])
            stats = running.stats()
            case.verify(f"netem handled {frames} frames towards the client", frames > 3000, said)
            case.note(f"retransmitted {stats['tcp_retransmitted_segments']} segments; {stats['inet_drop_tcp_checksum']} wrong TCP checksums; "
                      f"reordering seen by {stats['tcp_reordering_seen']} connections")
            if "loss" in netem or "corrupt" in netem:
                case.verify("segments were sent again", stats["tcp_retransmitted_segments"] > 0)
            if "corrupt" in netem:
                drops = {key: value for key, value in stats.items() if key.startswith(("inet_drop", "tcp_drop")) and value}
                dropped = sum(drops.values())
                case.note(f"dropped: {drops}")
                case.verify(f"sluice dropped {dropped} damaged frames", dropped > 0)
        finally:
            client.shell(f"tc qdisc delete dev {interface} root; tc qdisc delete dev {interface} ingress; ip link delete ifb9")


@pytest.mark.parametrize("link", ["virtio", "e1000e"])
@pytest.mark.parametrize("end", ["server", "client"])
def test_the_cable_is_pulled_during_a_download(bench, tree, case, link, end):
    """Out for three seconds while 4 MB are under way, at either end: the download goes on when it is back.

    Steps:
        A download that lasts some seconds; pull the cable, ask for telemetry, wait 3 s, put it back.
    Verify:
        At the server's end: the link was seen down and up, in `sluicectl ports` and in the log. The download is exact; no connection was
        reset.
    """
    nic = bench.nic(link, end)
    with serve(bench, prepare(bench, [link]), tree) as running:
        job = start_slow_download(bench, tree, link)
        case.verify("the download has begun", eventually(lambda: running.stats()["http_responses"] == 1))
        bench[end].set_link(nic, False)
        if end == "server":
            case.verify("telemetry answers, and says that the link is down", eventually(lambda: not running.port_facts()[link]["link_up"]))
        else:
            case.verify("telemetry answers", "tx_frames" in running.stats())
        time.sleep(3)
        bench[end].set_link(nic, True)
        verify_slow_download(job, tree, case)
        stats = running.stats()
        case.verify("it was under way when the cable was pulled: segments were sent again", stats["tcp_retransmitted_segments"] > 0)
        case.verify("no connection was reset", stats["tcp_aborted"] == 0 and stats["tcp_reset_by_peer"] == 0)
        if end == "server":
            said = running.logged()
            case.verify("the log says down, then up", 0 < said.find("the link is down") < said.rfind("the link is up"), said[-800:])


def test_a_nic_is_removed_and_put_back(bench, tree, case):
    """One of two NICs is taken away in mid-download (its slot's button): sluiced lets it go, the other serves on; put back, it serves again.

    Steps:
        sluiced on both NICs, a download over each. Ask for the removal of one. Download over the other. SIGTERM. Plug a NIC in again, bind
        it, start sluiced on it.
    Verify:
        The log says that it was let go; the machine has let it go while sluiced runs; telemetry answers, `removed` is true; downloads over the
        other NIC, also the one under way, are exact; exit status 0; the new NIC serves.
    """
    server, gone = bench["server"], bench.nic("e1000e", "server")
    with serve(bench, prepare(bench, ["virtio", "e1000e"]), tree) as running:
        case.verify("both serve", fetch(bench, tree, "virtio", MEDIUM) and fetch(bench, tree, "e1000e", MEDIUM))
        before = running.stats()["http_responses"]
        staying, going = start_slow_download(bench, tree, "virtio", 20), start_slow_download(bench, tree, "e1000e", 60)
        case.verify("both are under way", eventually(lambda: running.stats()["http_responses"] == before + 2))
        server.unplug(gone)
        # The slot's button blinks for five seconds before the kernel acts (PCIe base specification, 6.7.1.5).
        case.verify("the NIC is gone while sluiced runs", eventually(lambda: gone.id not in server.plugged(), 150), running.logged()[-1500:])
        said = running.logged()
        case.verify("the log says so", "its device is being removed" in said and "let go" in said, said[-1500:])
        facts = running.port_facts()
        case.verify("telemetry answers, and tells the two apart",
                    facts["e1000e"]["removed"] and not facts["e1000e"]["link_up"] and not facts["virtio"]["removed"] and facts["virtio"]["link_up"], facts)
        verify_slow_download(staying, tree, case)
        case.verify("another download over the other NIC is exact", fetch(bench, tree, "virtio"))
        going.stop(1)
        gauges = {key: running.stats()[key] for key in ("tcp_connections", "nic_pins", "nic_frames_in_flight", "tcp_send_queues")}
        case.note(f"afterwards: {gauges}")
        case.verify("no connection of the removed NIC is left", eventually(lambda: running.stats()["tcp_connections"] == 0), gauges)
        status = running.stop()
        case.verify("exit status 0", status == 0, (status, running.logged()[-1500:]))
    # What the client knows of the old one's address is the same for the new one.
    server.plug(gone)
    case.verify("a NIC is in the slot again", eventually(lambda: bench.find_end(gone), 150))
    with serve(bench, prepare(bench, ["e1000e"]), tree):
        case.verify("it serves", fetch(bench, tree, "e1000e"))


def test_the_server_is_killed_and_started_again(bench, tree, case):
    """The server's plug is pulled during a download; started again it serves the same bytes, and an old connection is told the truth.

    Steps:
        Kill the server machine while the client downloads, and holds an idle connection. Start it, set it up, start sluiced. Use the
        idle connection. Download.
    Verify:
        The client's download fails and does not deliver wrong bytes; the idle connection is reset; the new download is exact.
    """
    server, client, nic = bench["server"], bench["client"], bench.nic("virtio", "server")
    with serve(bench, prepare(bench, ["virtio"]), tree):
        job = client.start_job("curl", "-sS", "--fail", "--limit-rate", "50k", "--speed-limit", 1, "--speed-time", 10, "-o", "/run/part",
                               nic.url(largest(tree)))
        idle = client.start_job("python3", "-I", "-c", IDLE_CONNECTION, nic.ip(), "/1.bin")
        case.verify("a second connection is open and idle", eventually(lambda: "answered" in idle.output()), idle.output())
        server.kill()
    code = job.wait(90)
    part = client.read("/run/part")
    case.verify(f"the download failed (curl says {code}) after {len(part)} bytes", code not in (0, None) and 0 < len(part) < 4_194_301)
    case.verify("what had arrived is right", part == (tree.folder / largest(tree)).read_bytes()[:len(part)])
    server.start()
    case.note(f"the machine was up again after {server.wait_up():.0f} s")
    bench.name_ends("server")
    with serve(bench, prepare(bench, ["virtio"]), tree):
        client.shell("touch /run/go-on")
        case.verify("the old connection is reset", eventually(lambda: "reset" in idle.output()), idle.output())
        case.verify("the machine serves the same bytes", fetch(bench, tree, "virtio"))
    client.shell("rm -f /run/go-on /run/part")


# In the client: a keep-alive connection, used once, and once more when /run/go-on exists.
IDLE_CONNECTION = """
import os, socket, sys, time
address, target = sys.argv[1:]
request = f"GET {target} HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n".encode()
connection = socket.create_connection((address, 80), timeout=60)
connection.sendall(request)
print("answered" if connection.recv(65536).startswith(b"HTTP/1.1 200") else "refused", flush=True)
while not os.path.exists("/run/go-on"): time.sleep(0.2)
connection.sendall(request)
try: print("answered again", connection.recv(65536)[:40], flush=True)
except ConnectionResetError: print("reset", flush=True)
"""


def test_a_client_is_killed_and_started_again(bench, tree, case):
    """A client machine vanishes in mid-download and comes back under the same addresses: sluiced forgets the old and serves the new.

    Steps:
        Kill the client machine during a download; wait a little; start it; download.
    Verify:
        While it is away telemetry answers and the connection is kept; afterwards the new download is exact, the old connection ends, and
        its buffers come back.
    """
    client = bench["client"]
    with serve(bench, prepare(bench, ["virtio"]), tree) as running:
        start_slow_download(bench, tree, "virtio", 30)
        case.verify("a download is under way", eventually(lambda: running.stats()["http_responses"] == 1))
        time.sleep(1)
        client.kill()
        time.sleep(3)
        case.verify("the connection is kept while the client is away", running.stats()["tcp_connections"] == 1)
        client.start()
        case.note(f"the client was up again after {client.wait_up():.0f} s")
        bench.name_ends("client")
        case.verify("the new download is exact", fetch(bench, tree, "virtio"))
        gone = eventually(lambda: running.stats()["tcp_connections"] == 0, 180)
        stats = running.stats()
        case.verify("the old connection has ended", gone, {key: stats[key] for key in ("tcp_connections", "tcp_timed_out", "tcp_reset_by_peer")})
        case.note(f"ended by the peer's reset: {stats['tcp_reset_by_peer']}, by time: {stats['tcp_timed_out']}")
        case.verify("its buffers are back", stats["tcp_send_queues"] == 0 and stats["head_slots_used"] == 0, stats["tcp_send_queues"])
