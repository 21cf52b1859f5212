"""Clients that vanish in the middle of a response: a reset (SO_LINGER of 0), many in a second."""
import select
import socket
import struct
import time
from dataclasses import dataclass

from rig.client import request
from rig.site import SERVER

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Aborts:
    done: int = 0     # reset after the first bytes of their response
    failed: int = 0   # refused, or closed before
    seconds: float = 0.0


def abort_many(site, target, count, *, concurrent=500, seconds_max=30):
    """Opens `count` connections, asks each for target, and resets each at the first bytes of its response."""
    outcome = Aborts()
    head = request(target)
    poll = select.epoll()
    open_sockets = {}
    started = time.monotonic()
    opened = 0
    with site.client.entered():
        while outcome.done + outcome.failed < count and time.monotonic() - started < seconds_max:
            while opened < count and len(open_sockets) < concurrent:
                one = socket.socket()
                one.setblocking(False)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                # A small window: the response is still under way when the reset comes.
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
                one.connect_ex((SERVER[4], 80))
                open_sockets[one.fileno()] = one
                poll.register(one.fileno(), select.EPOLLOUT | select.EPOLLONESHOT)
                opened += 1
            for number, events in poll.poll(1, 256):
                _step(poll, open_sockets, number, events, head, outcome)
    for one in open_sockets.values():
        one.close()
        outcome.failed += 1
    outcome.seconds = time.monotonic() - started
    return outcome


def _step(poll, open_sockets, number, events, head, outcome):
    one = open_sockets[number]
    if events == select.EPOLLOUT:
        one.send(head)
        poll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)
        return
    try:
        got = one.recv(512)
    except OSError:
        got = b""
    outcome.done += got.startswith(b"HTTP/1.1 200")
    outcome.failed += not got.startswith(b"HTTP/1.1 200")
    del open_sockets[number]
    one.close()
