"""What suites of every topology check of a running sluiced."""
import hashlib
import time

MEDIUM = "1048576.bin"


def eventually(check, seconds=60):
    """Whether `check` comes true within the time: long, as emulated machines on cores that others use may stand still."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def largest(tree):
    return list(tree.digests)[-1]


def fetch(bench, tree, link, name=None, family=4, seconds=150, client="client"):
    """Downloads a file of the tree over a link. Returns whether its SHA-256 is that of the file; raises when curl fails."""
    name = name or largest(tree)
    url = bench.nic(link, "server").url(name, family)
    script = f"curl -g -sS --fail --max-time {seconds} '{url}' | sha256sum"
    return bench[client].shell(script, timeout=seconds + 30).split()[0] == tree.digests[name]


def verify_bytes(bench, tree, link, case, last=None):
    """Each file over IPv4, one of 1 MB over IPv6, and a range of it that begins and ends at odd places. last: the largest of the files used."""
    client, nic = bench["client"], bench.nic(link, "server")
    names = list(tree.digests)
    last = last or names[-1]
    urls = [(name, nic.url(name)) for name in names[:names.index(last) + 1]] + [(MEDIUM, nic.url(MEDIUM, 6))]
    script = "\n".join(f"curl -g -sS --fail --max-time 120 '{url}' | sha256sum | cut -d' ' -f1" for _, url in urls)
    got = client.shell(script, timeout=400).split()
    for (name, url), digest in zip(urls, got):
        case.verify(f"{url} has the SHA-256 of the file", digest == tree.digests[name], digest)
    data = (tree.folder / MEDIUM).read_bytes()[70_001:903_456]
    digest = client.shell(f"curl -sS --fail -r 70001-903455 --max-time 120 {nic.url(MEDIUM)} | sha256sum", timeout=150).split()[0]
    case.verify(f"bytes 70,001 to 903,455 of {MEDIUM} are right", digest == hashlib.sha256(data).hexdigest(), digest)


def verify_offloads(bench, served, tree, link, expected, case):
    """The offloads are on, and the counters show who did the work.

    expected: driver; offloads as `sluicectl ports` names them; vouches: whether the driver says of a received frame that its checksum
    is right.
    """
    facts = served.port_facts()[link]
    case.verify(f"driver {expected['driver']}", facts["driver"] == expected["driver"], facts["driver"])
    offloads = set(facts["offloads"].split()) - {"none"}
    case.verify(f"offloads: {', '.join(sorted(expected['offloads'])) or 'none'}", offloads == expected["offloads"], offloads)
    before = served.stats()
    case.verify("1 MB more arrived whole", fetch(bench, tree, link, MEDIUM))
    after = served.stats()
    moved = {key: after[key] - before[key] for key in (
        "tx_frames", "tcp_payload_sent_bytes", "nic_tx_device_checksums", "nic_tx_device_trains", "nic_rx_device_checksums",
        "nic_payload_copied_bytes", "inet_drop_tcp_checksum")}
    case.note(", ".join(f"{key} +{value}" for key, value in moved.items()))
    frames = moved["tcp_payload_sent_bytes"] // 1460
    case.verify("the device summed every data frame" if "tx_checksum" in offloads else "the device summed none",
                (moved["nic_tx_device_checksums"] >= frames) == ("tx_checksum" in offloads))
    case.verify("the device cut trains" if "tso" in offloads else "sluice cut every train",
                (moved["nic_tx_device_trains"] > 0) == ("tso" in offloads))
    case.verify("no payload was copied" if "chained_mbufs" in offloads else "the payload was copied once",
                (moved["nic_payload_copied_bytes"] == 0) == ("chained_mbufs" in offloads), moved["nic_payload_copied_bytes"])
    case.verify("no frame had a wrong checksum", moved["inet_drop_tcp_checksum"] == 0)
    case.verify("the device vouched for what it received" if expected["vouches"] else "the driver vouches for nothing: sluice summed it",
                (moved["nic_rx_device_checksums"] > 0) == expected["vouches"])


def verify_end(served, case):
    """SIGTERM: exit status 0, nothing left in a device."""
    status = served.stop()
    case.verify("exit status 0", status == 0, f"{status}: {served.logged()[-1500:]}")
    case.verify("every frame left", "did not leave" not in served.logged())
