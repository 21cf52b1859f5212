"""Commands in a machine, through the agent that runs there: what every kind of machine has that is not this one."""
import base64
import shlex
import signal
from dataclasses import dataclass

from testbed import MachineLost
from testbed.channel import to_base64, to_text

# Emulation may stand still for seconds while others have the cores.
ANSWER_SECONDS_SPARE = 60
# Time limits are written for idle cores: so much longer they are for an emulated machine, up to the second.
TIMES_LONGER, LONGER_SECONDS_MAX = 4, 480


@dataclass(frozen=True)
class Done:
    """How a command in a machine ended."""

    words: tuple
    rc: int
    out: str
    err: str


class Job:
    """A program that runs on in a machine."""

    def __init__(self, machine, words, job, pid):
        self.machine, self.words, self.pid = machine, words, pid
        self._job = job

    def poll(self):
        return self.machine.ask("poll", job=self._job)["rc"]

    def wait(self, seconds):
        """Returns the exit status; None: it still runs."""
        seconds = self.machine.seconds(seconds)
        return self.machine.ask("wait", seconds + ANSWER_SECONDS_SPARE, job=self._job, timeout_s=seconds)["rc"]

    def signal(self, number=signal.SIGTERM):
        self.machine.ask("signal", job=self._job, number=int(number))

    def output(self):
        return to_text(self.machine.ask("output", job=self._job)["out"])

    def stop(self, seconds=30):
        """Asks it to end, then insists. Returns its exit status (None: it had to be killed)."""
        self.signal(signal.SIGTERM)
        code = self.wait(seconds)
        if code is None:
            self.signal(signal.SIGKILL)
            self.wait(10)
        return code


class Remote:
    """Who is one sets `_channel` while its agent answers."""

    is_emulated = False

    def __init__(self, name):
        self.name = name
        self._channel = None

    def ask(self, do, seconds=ANSWER_SECONDS_SPARE, **request):
        if not self._channel:
            raise MachineLost(f"{self.name} is not running")
        return self._channel.ask(do, seconds, **request)

    def run(self, *words, timeout=90, check=True, input=None, env=None):
        """Runs a command to its end. Raises AssertionError when it fails (check) or takes too long."""
        words = tuple(str(word) for word in words)
        timeout = self.seconds(timeout)
        answer = self.ask("run", timeout + ANSWER_SECONDS_SPARE, words=words, timeout_s=timeout, env=env,
                          input=to_base64(input) if input else None)
        done = Done(words, answer["rc"], to_text(answer["out"]), to_text(answer["err"]))
        if done.rc is None:
            raise AssertionError(f"{self.name}: `{shlex.join(words)[:300]}` ran past {timeout} s:\n{done.out[-800:]}{done.err[-800:]}")
        if check and done.rc != 0:
            raise AssertionError(f"{self.name}: `{shlex.join(words)[:300]}` ended with {done.rc}:\n{done.out[-1500:]}{done.err[-1500:]}")
        return done

    def seconds(self, limit):
        """How long a limit is here."""
        return max(limit, min(TIMES_LONGER * limit, LONGER_SECONDS_MAX)) if self.is_emulated else limit

    def shell(self, script, **options):
        """Runs a bash script to its end; returns its standard output."""
        return self.run("bash", "-euo", "pipefail", "-c", script, **options).out

    def start_job(self, *words, env=None):
        words = tuple(str(word) for word in words)
        answer = self.ask("start", words=words, env=env)
        return Job(self, words, answer["job"], answer["pid"])

    def write(self, path, data, mode=0o644):
        self.ask("write", path=str(path), data=to_base64(data), mode=mode)

    def read(self, path):
        return base64.b64decode(self.ask("read", path=str(path))["data"])
