"""The runner's end of a machine's command channel: requests out, answers in, each within its time."""
import base64
import itertools
import json
import queue
import socket
import threading
import time

from testbed import MachineLost


class Channel:
    """Speaks testbed/agent.py's language over a connected socket. Any thread may ask."""

    def __init__(self, connected, label):
        self._label = label
        self._socket = connected
        self._numbers = itertools.count(1)
        self._waiting = {0: queue.Queue()}
        self._lock = threading.Lock()
        self._gone = None
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def wait_ready(self, seconds, still_runs):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self._waiting[0].get(timeout=0.25) is not None:
                    return
                break
            except queue.Empty:
                if not still_runs():
                    break
        raise MachineLost(f"{self._label} did not come up within {seconds} s")

    def ask(self, do, seconds, **request):
        """Returns the answer. Raises MachineLost when none comes in time; RuntimeError when the agent refused."""
        number = next(self._numbers)
        answers = queue.Queue()
        with self._lock:
            if self._gone:
                raise MachineLost(f"{self._label}: {self._gone}")
            self._waiting[number] = answers
            self._socket.sendall(json.dumps({"id": number, "do": do, **request}).encode() + b"\n")
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            raise MachineLost(f"{self._label} did not answer `{do}` within {seconds} s") from None
        finally:
            self._waiting.pop(number, None)
        if answer is None:
            raise MachineLost(f"{self._label}: {self._gone}")
        if "error" in answer:
            raise RuntimeError(f"{self._label}: {do}: {answer['error']}")
        return answer

    def close(self):
        with self._lock:
            self._gone = self._gone or "its channel is closed"
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def _listen(self):
        kept = b""
        try:
            while data := self._socket.recv(1 << 18):
                *lines, kept = (kept + data).split(b"\n")
                for line in lines:
                    answer = json.loads(line)
                    waiting = self._waiting.get(answer.pop("id"))
                    if waiting:
                        waiting.put(answer)
        except OSError:
            pass
        self._gone = self._gone or "it has ended"
        for waiting in list(self._waiting.values()):
            waiting.put(None)


def to_text(data):
    return base64.b64decode(data).decode(errors="replace")


def to_base64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()
