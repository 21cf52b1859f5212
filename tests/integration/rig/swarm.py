"""Many downloads at once in one thread, every byte compared with the Pattern it must be."""
import selectors
import time
from dataclasses import dataclass, field

from rig.client import request

HEAD_BYTES_MAX = 4096


@dataclass
class Download:
    """One range of one file on a connection of its own."""

    connection: object
    target: str
    first: int
    length: int
    received: int = 0
    head: bytearray = field(default_factory=bytearray)
    status: int = 0
    finished_at: float = 0.0
    error: str = ""

    def start(self):
        self.connection.send(request(self.target, Range=f"bytes={self.first}-{self.first + self.length - 1}"))
        self.connection.socket.setblocking(False)

    @property
    def done(self):
        return bool(self.error) or (self.status != 0 and self.received == self.length)


def run_swarm(downloads, pattern, seconds_max):
    """Drives all downloads to their end. Returns: seconds taken; each Download says what became of it."""
    selector = selectors.DefaultSelector()
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    started = time.monotonic()
    waiting = len(downloads)
    for download in downloads:
        download.start()
        selector.register(download.connection.socket, selectors.EVENT_READ, download)
    while waiting and time.monotonic() - started < seconds_max:
        for key, _ in selector.select(timeout=1):
            download = key.data
            try:
                count = download.connection.socket.recv_into(view)
            except BlockingIOError:
                continue
            except OSError as error:
                download.error = str(error)
                count = 0
            if count == 0:
                download.error = download.error or "closed early"
            else:
                take(download, bytes(view[:count]), pattern)
            if download.done:
                download.finished_at = time.monotonic() - started
                selector.unregister(download.connection.socket)
                download.connection.close()
                waiting -= 1
    for download in downloads:
        if not download.done:
            download.error = f"{download.received} of {download.length} bytes after {seconds_max} s"
            download.connection.close()
    selector.close()
    return time.monotonic() - started


def take(download, data, pattern):
    if not download.status:
        download.head += data
        head, found, body = bytes(download.head).partition(b"\r\n\r\n")
        if not found:
            if len(download.head) > HEAD_BYTES_MAX:
                download.error = "no end of the head"
            return
        download.status = int(head.split(b" ", 2)[1])
        if download.status != 206:
            download.error = f"status {download.status}"
            return
        data = body
    if download.received + len(data) > download.length:
        download.error = "more bytes than asked for"
    elif not pattern.matches(download.first + download.received, data):
        download.error = f"wrong bytes near {download.first + download.received}"
    download.received += len(data)
