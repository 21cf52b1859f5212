"""QEMU's own control socket (QMP): links down and up, devices removed, the plug pulled."""
import json
import socket

REPLY_SECONDS_MAX = 20


class Qmp:
    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(REPLY_SECONDS_MAX)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")
        self._file.readline()  # the greeting
        self.command("qmp_capabilities")

    def command(self, execute, /, **arguments):
        """Returns what QEMU answers; raises RuntimeError when it refuses. Events in between are passed over."""
        self._file.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self._file.flush()
        for line in self._file:
            answer = json.loads(line)
            if "error" in answer:
                raise RuntimeError(f"QEMU refuses {execute} {arguments}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise RuntimeError(f"QEMU ended before it answered {execute}")

    def close(self):
        self._file.close()
        self._socket.close()
