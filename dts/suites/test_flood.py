"""Flood: the kernel's pktgen, Pktgen-DPDK, SYNs, malformed frames and wrk at the highest rate the machine gives; downloads go on, drops add up."""
import json
import re
import tomllib

import pytest

from testbed.checks import eventually
from testbed.pktgen_dpdk import SCRIPTS, find_pktgen_dpdk, verify_pktgen_dpdk
from testbed.server import HOST_SETUP, ROOT, Sluiced
from testbed.topology import links_of
from testbed.traffic import Accounts, Downloads, LongQueue, Pktgen, SynFlood, client_syns, left_interface, malformed_words, missed

TOPOLOGY = "trouble"
LINKS = links_of(TOPOLOGY)
PAGES = 150
FRAMES = 12_000
SYNS = 10_000
SYNS_PER_SECOND = 100_000  # asked for; the machine gives what it can
MALFORMED_EACH = 100
SMALL = ("--polling", "adaptive", "--max-connections", "400", "--max-objects", "500")
BROADCAST = "ff:ff:ff:ff:ff:ff"
# A virtio-net that was not told of a VLAN lets none of its frames in (virtio 1.1, section 5.1.6.5.3).
FILTERS_VLANS = {"virtio"}
MBUFS_PER_FRAME = 3  # a header, and payload in one chunk or two
GAUGES = ("tcp_connections", "tcp_half_open", "tcp_send_queues", "tcp_receive_buffers", "head_slots_used", "lookups_open")


@pytest.fixture(scope="module", params=LINKS)
def link(request, bench):
    bench["server"].run(HOST_SETUP, "--hugepages", PAGES, "--bind", bench.interfaces["server"][request.param][1], timeout=120)
    return request.param


@pytest.fixture(scope="module")
def served(bench, link, tree):
    port = (bench.nic(link, "server"), bench.interfaces["server"][link][1])
    with Sluiced(bench["server"], [port], tree.folder, cache="32M", arguments=SMALL, gateway=bench.nic(link, "client").ip()) as running:
        yield running


def finish(downloads, case):
    count, exact = downloads.finish()
    case.verify(f"{exact} of {count} downloads during it were exact", count > 0 and exact == count)


def test_udp_noise(bench, served, link, tree, case):
    """64-byte UDP frames of the kernel's pktgen, as fast as it can, of three kinds, while a client downloads.

    Steps:
        Downloads in the client. pktgen: FRAMES from random sources to us; as many in frames to everyone; as many with a VLAN tag.
    Verify:
        Each download exact. Of each kind, what sluice counted under its cause, and what the device says that it missed, is what pktgen
        sent; a tag that the device itself filters reaches no counter.
    """
    client, interface, nic = bench["client"], bench.interfaces["client"][link][0], bench.nic(link, "server")
    pktgen = Pktgen(client, interface, nic.mac)
    downloads = Downloads(bench, link, tree)
    kinds = [("UDP from random sources", "inet_drop_udp", {}),
             ("UDP in frames to everyone", "inet_drop_frame_group", {"mac": BROADCAST}),
             ("UDP with a VLAN tag", "inet_drop_vlan", {"more": ("vlan_id 77",)})]
    for name, counter, how in kinds:
        accounts = Accounts(served, link)
        sent, rate = pktgen.send(nic.ip(), FRAMES, **how)
        filtered = how.get("more") and link in FILTERS_VLANS
        moved = accounts.settled(lambda moved: moved[counter] + missed(moved), sent)
        case.note(f"{name}: {sent} sent at {rate} frames/s; {counter} +{moved[counter]}, the device missed {missed(moved)}")
        if filtered:
            case.verify(f"{name}: filtered by the device", sent == FRAMES and moved[counter] == 0, moved[counter])
        else:
            case.verify(f"{name}: dropped and missed are what was sent", sent == FRAMES and moved[counter] + missed(moved) == sent,
                        (sent, moved[counter], missed(moved)))
    finish(downloads, case)


def test_syn_flood(bench, served, link, tree, case):
    """SYNs from random addresses, as fast as the machine can send them, while a client downloads.

    Steps:
        Downloads in the client. sluice-flood: SYNS SYNs from 198.18.0.0/15.
    Verify:
        Each download exact. SYNs received, and what the device missed, are those of the flood and those that the client's kernel says it
        sent; no connection of the flood was established.
    """
    client, nic, interface = bench["client"], bench.nic(link, "server"), bench.interfaces["client"][link][0]
    with SynFlood(client, interface) as flood:
        accounts, ours, before = Accounts(served, link), client_syns(client), left_interface(client, interface)
        downloads = Downloads(bench, link, tree)
        sent = flood.send(nic.mac, nic.ip(), SYNS_PER_SECOND, SYNS)
        accounts.settled(lambda moved: moved["tcp_syn_received"] + missed(moved), sent)
        count, exact = downloads.finish()
        moved, ours, dropped = accounts.moved(), client_syns(client) - ours, flood.dropped()
        left = left_interface(client, interface) - before
    case.note(f"{sent} SYNs of the flood, {ours} of the client; {moved['tcp_syn_received']} received, the device missed {missed(moved)}; "
              f"{moved['tcp_syn_cookies_sent']} cookies, {moved['tcp_half_open_recycled']} half-open recycled")
    case.note(f"{left} frames left the client's interface, {moved['rx_frames']} arrived, its queue dropped {dropped}; "
              f"dropped: {dict((key, value) for key, value in moved.items() if '_drop_' in key and value)}")
    case.verify("received and missed are what was sent", sent == SYNS and moved["tcp_syn_received"] + missed(moved) == sent + ours,
                (sent, ours, moved["tcp_syn_received"], missed(moved), dropped))
    case.verify(f"{exact} of {count} downloads during it were exact", count > 0 and exact == count)
    case.verify(f"connections accepted ({moved['tcp_accepted']}) are the downloads", moved["tcp_accepted"] == count, (moved["tcp_accepted"], count))


def test_malformed_frames(bench, served, link, tree, case):
    """Frames that are wrong in one way each, from Ethernet to TCP, while a client downloads.

    Steps:
        Downloads in the client. MALFORMED_EACH frames of each kind of testbed/malformed.py, out of a packet socket.
    Verify:
        Each download exact. Each kind is counted under its own cause as often as it was sent.
    """
    client, interface = bench["client"], bench.interfaces["client"][link][0]
    downloads = Downloads(bench, link, tree)
    accounts, left = Accounts(served, link), left_interface(client, interface)
    with LongQueue(client, interface):
        sent = json.loads(client.run(*malformed_words(bench, link, MALFORMED_EACH), timeout=200).out)
        moved = accounts.settled(lambda moved: sum(moved[counter] for counter in sent) + missed(moved), sum(sent.values()))
    finish(downloads, case)
    wrong = {counter: (moved[counter], count) for counter, count in sent.items() if moved[counter] != count}
    case.note(f"the device missed or refused {missed(moved)}; {left_interface(client, interface) - left} frames left the client's interface, "
              f"{accounts.moved()['rx_frames']} arrived")
    case.verify(f"{len(sent)} causes, each counted as often as sent", not wrong, wrong)
    case.note(f"causes: {', '.join(sorted(sent))}")


@pytest.mark.parametrize("link", LINKS[:1], indirect=True)
@pytest.mark.parametrize("script", SCRIPTS)
def test_pktgen_dpdk(bench, served, link, tree, script, case):
    """Pktgen-DPDK, where it is found, by a Lua script of dts/pktgen, while a client downloads.

    Steps:
        Downloads in the client. Pktgen-DPDK out of a packet socket of the same interface: 64-byte UDP frames as fast as they go; SYNs
        from 10,000 addresses; five kinds of background in turns.
    Verify:
        Each download exact. What sluice counted under each part's cause, and what the device missed, is what Pktgen's port sent.
    """
    program, reason = find_pktgen_dpdk()
    if not program:
        pytest.skip(reason)
    with LongQueue(bench["client"], bench.interfaces["client"][link][0]) as queue:
        verify_pktgen_dpdk(program, bench, served, tree, link, script, case, lost=queue.dropped)


def test_everything_at_once_and_nothing_leaks(bench, served, link, tree, case):
    """pktgen, a SYN flood, malformed frames and wrk together, while a client downloads; afterwards every buffer is back.

    Steps:
        Note how many mbufs are out of their pools. Start all of it at once; wait until it has ended; wait for quiet. Compare.
    Verify:
        Each download exact; wrk saw answers and none that was not a 2xx; gauges are 0 again, and of the pools no more is out than the
        rings of the device hold.
    """
    client, interface, nic = bench["client"], bench.interfaces["client"][link][0], bench.nic(link, "server")
    facts = served.port_facts()[link]
    mbufs = facts["rx_mbufs_out"], facts["tx_mbufs_out"]
    accounts, pktgen = Accounts(served, link), Pktgen(client, interface, nic.mac)
    with SynFlood(client, interface) as flood:
        downloads = Downloads(bench, link, tree)
        jobs = [client.start_job(*flood.words(nic.mac, nic.ip(), SYNS_PER_SECOND, SYNS)),
                client.start_job(*malformed_words(bench, link, MALFORMED_EACH)),
                client.start_job("bash", "-c", pktgen.script(nic.ip(), FRAMES)),
                client.start_job("wrk", "-t1", "-c8", "-d20s", "--timeout", "20s", nic.url("4097.bin"))]
        ended = [job.wait(240) for job in jobs]
        case.verify("every generator ended well", ended == [0] * len(jobs), (ended, [job.output()[-300:] for job in jobs]))
        finish(downloads, case)
    said = jobs[3].output()
    requests = int(re.search(r"(\d+) requests in", said)[1])
    case.note(f"wrk: {requests} requests; pktgen: {Pktgen.outcome(jobs[2].output())[1]} frames/s")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    case.note(f"wrk's socket errors: {errors[0] if errors else 'none'}")
    case.verify(f"wrk: {requests} answers, none but 2xx", requests > 0 and "Non-2xx" not in said, said[-400:])
    back = eventually(lambda: all(served.stats()[gauge] == 0 for gauge in GAUGES), 180)
    after = served.stats()
    case.verify(f"gauges are 0 again: {', '.join(GAUGES)}", back, {gauge: after[gauge] for gauge in GAUGES})
    facts, (rx_ring, tx_ring) = served.port_facts()[link], ring_sizes(served, link)
    moved, mbufs_now = accounts.moved(), (facts["rx_mbufs_out"], facts["tx_mbufs_out"])
    case.verify(f"{moved['rx_frames']} frames in and {moved['tx_frames']} out later the receive pools have as many mbufs out as before, "
                f"{mbufs[0]} and {mbufs_now[0]}: what the ring of {rx_ring} holds", abs(mbufs_now[0] - mbufs[0]) <= 64 and mbufs_now[0] <= rx_ring,
                (mbufs, mbufs_now))
    case.verify(f"of the send pools {mbufs_now[1]} are out, before {mbufs[1]}: no more than a ring of {tx_ring} frames of a header and pieces",
                mbufs_now[1] <= MBUFS_PER_FRAME * tx_ring, mbufs_now)


def ring_sizes(served, link):
    """Descriptors of the profile: what the device may hold."""
    driver = served.port_facts()[link]["driver"].removeprefix("net_")
    name = {"e1000_em": "e1000"}.get(driver, driver)
    queues = tomllib.loads((ROOT / "drivers_config" / f"{name}.toml").read_text())["queues"]
    return queues["rx_descriptors"] * queues["rx_rings"], queues["tx_descriptors"]
