"""A raw HTTP/1.1 client: sends exactly the bytes it is told to, reads exactly what comes."""
import socket
from dataclasses import dataclass, field


@dataclass
class Response:
    status: int
    reason: str
    version: str
    fields: list
    body: bytes = b""
    complete: bool = True

    def get(self, name, default=None):
        """The one value of a field; fails when there are several."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} appears {len(values)} times"
        return values[0] if values else default


class Closed(Exception):
    """The server closed the connection where a response was awaited. `seen`: the bytes it did send."""

    def __init__(self, seen, reset=False):
        super().__init__(f"closed{' by a reset' if reset else ''} after {len(seen)} bytes: {bytes(seen[:80])!r}")
        self.seen = bytes(seen)
        self.reset = reset


@dataclass
class Connection:
    """One TCP connection to a site."""

    socket: socket.socket
    buffer: bytearray = field(default_factory=bytearray)

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _more(self):
        try:
            data = self.socket.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            raise Closed(self.buffer, reset=True) from None
        if not data:
            raise Closed(self.buffer)
        self.buffer += data

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        lines = head.decode("latin-1").split("\r\n")
        version, status, *reason = lines[0].split(" ", 2)
        assert version.startswith("HTTP/1."), lines[0]
        fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            assert colon and name == name.strip() and name, f"malformed field line {line!r}"
            fields.append((name, value.strip()))
        return Response(int(status), reason[0] if reason else "", version, fields)

    def read_response(self, method="GET"):
        """Reads one response whole. A body cut short gives complete = False."""
        response = self.read_head()
        if method == "HEAD" or response.status in (204, 304) or 100 <= response.status < 200:
            return response
        length = int(response.get("Content-Length", "0"))
        try:
            while len(self.buffer) < length:
                self._more()
        except Closed:
            response.complete = False
        response.body = bytes(self.buffer[:length])
        del self.buffer[:length]
        return response

    def read_to_end(self):
        """Everything until the server closes."""
        try:
            while True:
                self._more()
        except Closed:
            seen = bytes(self.buffer)
            self.buffer.clear()
            return seen


def request(target="/", method="GET", version="HTTP/1.1", host="sluice", **fields):
    """The bytes of a request head; field names are given with _ for -."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_all(connection):
    """All responses until the server closes the connection (GET assumed)."""
    responses = []
    while True:
        try:
            responses.append(connection.read_response())
        except Closed as closed:
            assert closed.seen == b"" or not closed.seen.startswith(b"HTTP"), closed
            return responses
