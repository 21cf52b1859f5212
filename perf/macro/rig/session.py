"""What the scripts share: their arguments, a scratch folder, things to be closed at every exit, and the heading of a table."""
import argparse
import contextlib
import datetime
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]


def parser(text):
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--build", type=pathlib.Path, default=ROOT / "build/gcc", help="build folder of sluice and the tools")
    made.add_argument("--port", default="af_xdp", choices=["af_packet", "af_xdp"], help="of sluice, on the server's device")
    made.add_argument("--rounds", type=int, default=3)
    return made


@contextlib.contextmanager
def session():
    """Yields (stack, scratch): what is pushed on the stack is closed whatever happens. SIGTERM and SIGINT are exits too."""
    if os.geteuid() != 0:
        sys.exit("this makes network namespaces: run it as root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="sluice-perf-", dir="/var/tmp") as folder, contextlib.ExitStack() as stack:
        yield stack, pathlib.Path(folder)


def kept(stack, thing, close="close"):
    stack.callback(getattr(thing, close))
    return thing


def heading():
    """Date, commit, machine and command, in one paragraph."""
    git = lambda *words: subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()
    commit = git("rev-parse", "--short=10", "HEAD") or "unknown"
    if git("status", "--porcelain", "--", "lib", "app", "perf", "drivers_config"):
        commit += " and changes"
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    command = " ".join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])
    load = os.getloadavg()[0]
    return (f"{now}, commit {commit}, Linux {os.uname().release}, {os.cpu_count()} cores, load average {load:.1f} at the "
            f"end: `{command}`")


def table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def progress(text):
    print(text, file=sys.stderr, flush=True)
