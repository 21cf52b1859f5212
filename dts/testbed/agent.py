"""The agent: runs inside a machine and does what the runner asks over a virtio-serial port.

One JSON object a line, each way; a request has an `id`, its answer the same. Each request has a thread of its own, so a
long one does not hold up another. Nothing is waited for without a limit.

    run    words, timeout_s [, input, cwd, env]   -> rc (null: it ran past its time), out, err
    start  words [, cwd, env]                     -> job              output goes to files
    poll   job                                    -> rc (null: it runs)
    wait   job, timeout_s                         -> rc (null: it still runs)
    signal job, number                            -> {}
    output job [, from]                           -> out, next        standard output and error together
    read   path [, from, length]                  -> data, next
    write  path, data [, mode]                    -> {}

Bytes travel as base64. Only the standard library: it runs with `python3 -I`. With the argument `-` it speaks over standard input and output.
When the runner has gone, so do the jobs.
"""
import base64
import contextlib
import glob
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

PORT_NAME = "sluice.agent"
OUTPUT_BYTES_MAX = 8 << 20  # of one answer; more is cut off at its beginning
JOBS = pathlib.Path(f"/run/sluice-agent-{os.getpid()}")


def encoded(data):
    return base64.b64encode(data[-OUTPUT_BYTES_MAX:]).decode()


def find_port():
    for name in glob.glob("/sys/class/virtio-ports/*/name"):
        path = pathlib.Path(name)
        if path.read_text().strip() == PORT_NAME:
            return f"/dev/{path.parent.name}"
    sys.exit(f"agent: no virtio port named {PORT_NAME}")


def environment(extra):
    return {**os.environ, **(extra or {})}


class Agent:
    def __init__(self, incoming, outgoing):
        """Descriptors."""
        self._in, self._out = os.fdopen(incoming, "rb", buffering=0), outgoing
        self._sending = threading.Lock()
        self._jobs = {}
        self._numbers = itertools.count(1)
        JOBS.mkdir(parents=True, exist_ok=True)

    def serve(self):
        self._send({"id": 0, "ready": True})
        waiting = b""
        while True:
            data = self._in.read(65536)
            if not data:
                return self._end()
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _end(self):
        for process in self._jobs.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._jobs.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(JOBS, ignore_errors=True)

    def _send(self, answer):
        data = json.dumps(answer).encode() + b"\n"
        with self._sending:
            while data:
                data = data[os.write(self._out, data):]

    def _answer(self, request):
        number = request.pop("id")
        try:
            answer = getattr(self, f"do_{request.pop('do')}")(**request)
        except Exception as error:  # whatever it is, the runner wants to know
            answer = {"error": f"{type(error).__name__}: {error}"}
        self._send({"id": number, **answer})

    def do_run(self, words, timeout_s, input=None, cwd=None, env=None):
        process = subprocess.Popen(words, stdin=subprocess.PIPE if input else subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, cwd=cwd, env=environment(env), start_new_session=True)
        try:
            out, err = process.communicate(base64.b64decode(input) if input else None, timeout=timeout_s)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate(timeout=10)
            code = None
        return {"rc": code, "out": encoded(out), "err": encoded(err)}

    def do_start(self, words, cwd=None, env=None):
        job = next(self._numbers)
        with open(JOBS / f"{job}.log", "wb") as log:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=cwd,
                                       env=environment(env), start_new_session=True)
        self._jobs[job] = process
        return {"job": job, "pid": process.pid}

    def do_poll(self, job):
        return {"rc": self._jobs[job].poll()}

    def do_wait(self, job, timeout_s):
        try:
            return {"rc": self._jobs[job].wait(timeout_s)}
        except subprocess.TimeoutExpired:
            return {"rc": None}

    def do_signal(self, job, number):
        process = self._jobs[job]
        if process.poll() is None:
            os.killpg(process.pid, number)
        return {}

    def do_output(self, job, **where):
        answer = self.do_read(str(JOBS / f"{job}.log"), **where)
        return {"out": answer["data"], "next": answer["next"]}

    def do_read(self, path, start=0, length=OUTPUT_BYTES_MAX):
        with open(path, "rb") as file:
            if start:
                file.seek(start)
            data = file.read(length)
        return {"data": encoded(data), "next": start + len(data)}

    def do_write(self, path, data, mode=0o644):
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))
        path.chmod(mode)
        return {}


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        # What programs print must not go between the answers.
        speak = os.dup(1)
        os.dup2(2, 1)
        Agent(0, speak).serve()
    else:
        port = os.open(find_port(), os.O_RDWR)
        Agent(port, port).serve()
