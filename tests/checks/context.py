"""What a stage is given (where it is, a log, a way to run commands) and what it gives back."""
import contextlib
import fcntl
import os
import pathlib
import subprocess
import time
from dataclasses import dataclass, field

HEARTBEAT_SECONDS = 15


@dataclass
class Outcome:
    """Counts what passed; names what did not."""

    passed: int = 0
    failed: list = field(default_factory=list)
    skipped: list = field(default_factory=list)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def counts(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


class Context:
    """One stage's surroundings."""

    def __init__(self, root, stage, quick, stopping):
        self.root = pathlib.Path(root)
        self.stage = stage
        self.quick = quick
        self.stopping = stopping  # a threading.Event: the run is being ended
        self.jobs = int(os.environ.get("SLUICE_TEST_JOBS", os.cpu_count() or 1))
        self.build = self.root / "build"
        (self.build / "logs").mkdir(parents=True, exist_ok=True)
        self.log_path = self.build / "logs" / f"{stage}.log"
        self._log = open(self.log_path, "wb")

    def close(self):
        self._log.close()

    def log(self, text):
        self._log.write(text.encode() + b"\n")
        self._log.flush()

    def run(self, command, *, timeout=3600, env=None, cwd=None):
        """Runs a command with its output in the stage's log and a heartbeat on the terminal.

        Returns: its exit code; 124 when it ran past the timeout (it is then ended with its children).
        """
        command = [str(word) for word in command]
        self.log(f"$ {' '.join(command)}")
        process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=cwd or self.root, env={**os.environ, **(env or {})}, start_new_session=True)
        started = time.monotonic()
        next_beat = started + HEARTBEAT_SECONDS
        try:
            while True:
                try:
                    return process.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    pass
                if self.stopping.is_set():
                    raise RuntimeError("the run was ended")
                now = time.monotonic()
                if now - started > timeout:
                    self.log(f"ran past {timeout} s")
                    return 124
                if now >= next_beat:
                    next_beat = now + HEARTBEAT_SECONDS
                    print(f"      {now - started:4.0f} s  {self.stage}: {self.last_line()[:90]}", flush=True)
        finally:
            if process.poll() is None:
                end_group(process)

    def last_line(self):
        with open(self.log_path, "rb") as log:
            log.seek(max(0, os.path.getsize(self.log_path) - 2000))
            lines = log.read().decode(errors="replace").replace("\r", "\n").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def files(self, *patterns):
        """The project's own files that match git patterns, whether committed yet or not."""
        listed = subprocess.run(
            ["git", "-C", self.root, "-c", f"safe.directory={self.root}", "ls-files", "-z", "--cached", "--others",
             "--exclude-standard", "--", *patterns],
            check=True, capture_output=True).stdout.decode()
        return sorted({name for name in listed.split("\0") if name and (self.root / name).is_file()})

    @contextlib.contextmanager
    def locked(self, folder):
        """Holds a build folder against another run in this checkout."""
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder.parent / f".{folder.name}.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"      waiting for another run that uses {folder.relative_to(self.root)}", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def end_group(process):
    """Ends a process started in its own session, and what it started."""
    import signal
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return
