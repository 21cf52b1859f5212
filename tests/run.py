#!/usr/bin/python3
"""The test runner behind scripts/test: runs the stages, reports, ends with the summary line.

Each stage is one module of tests/checks with `check(context) -> Outcome`. A stage's whole output goes to
build/logs/<stage>.log; the terminal gets one line when it starts, a heartbeat while it runs, and its
outcome. Two runs in one checkout are safe: a build folder is used under its lock, namespaces have
unique names.

Exit code: 0 when nothing failed.
"""
import argparse
import os
import pathlib
import sys
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
    "layering": layering.check,
    "headers": headers.check,
    "clang": builds.check_clang,
    "fuzz": fuzz.check,
    "tidy": tidy.check,
    "integration": integration.check,
    "dts": dts.check,
}

# Left out of --quick: minutes of work that seldom finds what the others do not.
NOT_QUICK = {"headers", "tidy", "dts"}


def parse_arguments():
    parser = argparse.ArgumentParser(prog="scripts/test", description="Everything that .ci/run checks.")
    parser.add_argument("--quick", action="store_true", help="a few minutes: less fuzzing, smaller files, no tidy")
    parser.add_argument("--only", metavar="STAGES", help="comma-separated: " + ",".join(STAGES))
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


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(STAGES))
        return 0
    names = chosen_stages(arguments)
    os.chdir(ROOT)
    total = Outcome()
    started = time.monotonic()
    for number, name in enumerate(names, 1):
        context = Context(ROOT, name, arguments.quick)
        print(f"[{number}/{len(names)}] {name}", flush=True)
        stage_started = time.monotonic()
        try:
            outcome = STAGES[name](context)
        except Exception as error:  # a broken stage is a failed check, not a broken run
            context.log(f"{type(error).__name__}: {error}")
            outcome = Outcome(failed=[f"{name}: {type(error).__name__}: {error}"])
        context.close()
        total.add(outcome)
        verdict = "ok" if not outcome.failed else f"FAILED, see {context.log_path.relative_to(ROOT)}"
        print(f"      {outcome.counts()} in {time.monotonic() - stage_started:.0f} s: {verdict}", flush=True)

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
