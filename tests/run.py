#!/usr/bin/python3
"""The test runner behind scripts/test: runs the stages, reports, ends with the summary line.

Each stage is one module of tests/checks with `check(context) -> Outcome`. A stage's whole output goes to
build/logs/<stage>.log; the terminal gets one line when it starts, a heartbeat while it runs, and its
outcome. Two runs in one checkout are safe: a build folder is used under its lock, namespaces have
unique names.

The stages run one after the other. With --beside what mostly waits (WAITING: real clients and their
timers) runs at the end beside what only computes and reads no clock (COMPUTING), which gives way to it:
at a low priority it uses what the other leaves. What is counted, and in which order it is named, does
not depend on which ends first.

Exit code: 0 when nothing failed.
"""
import argparse
import os
import pathlib
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from checks import builds, drivers, dts, fuzz, headers, integration, layering, ledger, style, tidy  # noqa: E402
from checks.context import Context, Outcome  # noqa: E402


def check_text(context):
    outcome = style.check_text(context)
    outcome.add(ledger.check(context))
    outcome.add(drivers.check(context))
    return outcome


# In this order: what fails fastest comes first, what needs a build after the build.
STAGES = {
    "format": style.check_format,
    "scripts": style.check_scripts,
    "text": check_text,
    "gcc": builds.check_gcc,
    "clang": builds.check_clang,
    "dts": dts.check,
    "fuzz": fuzz.check,
    "layering": layering.check,
    "headers": headers.check,
    "tidy": tidy.check,
    "integration": integration.check,
}

# It needs little of the processors' time (emulated machines take all that there is).
WAITING = ["integration"]
# And these run meanwhile.
COMPUTING = ["layering", "headers", "tidy"]
LOW_PRIORITY = 10  # nice(2): a tenth of what the others would get

# Left out of --quick: minutes of work that seldom finds what the others do not.
NOT_QUICK = {"headers", "tidy", "dts"}


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/test", description="Everything that .ci/run checks.")
    parser.add_argument("--quick", action="store_true", help="a few minutes: less fuzzing, smaller files, no tidy")
    parser.add_argument("--only", metavar="STAGES", help="comma-separated: " + ",".join(STAGES))
    parser.add_argument("--beside", action="store_true", help="what waits beside what computes")
    parser.add_argument("--list", action="store_true", help="name the stages and stop")
    return parser.parse_args()


def chosen_stages(arguments):
    if arguments.only:
        names = arguments.only.split(",")
        unknown = [name for name in names if name not in STAGES]
        if unknown:
            sys.exit(f"scripts/test: no stage {', '.join(unknown)}; there are: {', '.join(STAGES)}")
        return names
    return [name for name in STAGES if not (arguments.quick and name in NOT_QUICK)]


class Run:
    """The stages of one call of scripts/test, and what they found."""

    def __init__(self, names, quick):
        self.names = names
        self.quick = quick
        self.outcomes = {}
        self.stopping = threading.Event()

    def stages(self, names):
        """Runs them one after the other."""
        for name in names:
            if self.stopping.is_set():
                return
            self.stage(name)

    def stage(self, name):
        context = Context(ROOT, name, self.quick, self.stopping)
        print(f"[{self.names.index(name) + 1}/{len(self.names)}] {name}", flush=True)
        started = time.monotonic()
        try:
            outcome = STAGES[name](context)
        except Exception as error:  # a broken stage is a failed check, not a broken run
            context.log(f"{type(error).__name__}: {error}")
            outcome = Outcome(failed=[f"{name}: {type(error).__name__}: {error}"])
        context.close()
        self.outcomes[name] = outcome
        verdict = "ok" if not outcome.failed else f"FAILED, see {context.log_path.relative_to(ROOT)}"
        print(f"      {name}: {outcome.counts()} in {time.monotonic() - started:.0f} s: {verdict}", flush=True)

    def both(self, waiting, computing):
        """Runs two rows of stages beside each other."""
        beside = threading.Thread(target=self.stages, args=(waiting,))
        beside.start()
        try:
            # Of this thread, and of what it starts; there is nothing after it.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
            self.stages(computing)
            beside.join()
        finally:
            self.stopping.set()
            beside.join()


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(STAGES))
        return 0
    names = chosen_stages(arguments)
    os.chdir(ROOT)
    run = Run(names, arguments.quick)
    started = time.monotonic()
    if not arguments.beside:
        run.stages(names)
    else:
        run.stages([name for name in names if name not in WAITING + COMPUTING])
        run.both([name for name in names if name in WAITING], [name for name in names if name in COMPUTING])

    total = Outcome()
    for name in names:
        total.add(run.outcomes[name])
    print()
    for text in total.skipped:
        print(f"skipped: {text}")
    for text in total.failed:
        print(f"FAILED: {text}")
    print(f"took {(time.monotonic() - started) / 60:.1f} min; logs are in build/logs")
    print(total.counts())
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
