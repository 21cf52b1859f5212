"""The two builds, g++ and clang with sanitizers, both -Werror, and their tests (tests/configure.py)."""
import json
import xml.etree.ElementTree as ElementTree

import configure
from checks.context import Outcome

GCC = "gcc"
ASAN = "asan"

SANITIZER_ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


def check_gcc(context):
    return build_and_test(context, GCC)


def check_clang(context):
    return build_and_test(context, ASAN)


def build_and_test(context, name):
    outcome = Outcome()
    folder = context.build / name
    with context.locked(folder):
        if not build(context, name):
            outcome.failed.append(f"{name}: build with -Werror")
            return outcome
        outcome.passed += 1
        junit = folder / "meson-logs" / "testlog.junit.xml"
        junit.unlink(missing_ok=True)
        code = context.run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs",
                            "--num-processes", context.jobs, "--timeout-multiplier", "5"],
                           env=SANITIZER_ENVIRONMENT)
        outcome.add(read_results(folder, name, code))
    return outcome


def build(context, name):
    """Configures once, builds. Returns: whether it succeeded."""
    folder = context.build / name
    words, environment = configure.command(name)
    if not (folder / "build.ninja").exists():
        if context.run(words, env=environment) != 0:
            return False
    return context.run(["ninja", "-C", folder, "-k", "0", "-j", context.jobs]) == 0


def read_results(folder, name, code):
    """One passed, failed or skipped for each case that meson's test report names."""
    outcome = Outcome()
    failed_programs = set()
    junit = folder / "meson-logs" / "testlog.junit.xml"
    if junit.exists():
        for suite in ElementTree.parse(junit).getroot().iter("testsuite"):
            for case in suite.iter("testcase"):
                label = f"{name}: {suite.get('name')}: {case.get('classname', '')}.{case.get('name')}"
                if case.find("failure") is not None or case.find("error") is not None:
                    outcome.failed.append(label)
                    failed_programs.add(suite.get("name"))
                elif case.find("skipped") is not None:
                    outcome.skipped.append(label)
                else:
                    outcome.passed += 1
    # A program that crashed leaves no case behind.
    log = folder / "meson-logs" / "testlog.json"
    if log.exists():
        for line in log.read_text().splitlines():
            result = json.loads(line)
            program = result["name"].split(" / ")[-1]
            if result["result"] in ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT") and not any(
                    program in suite for suite in failed_programs):
                outcome.failed.append(f"{name}: {program}: {result['result']}")
    if code != 0 and not outcome.failed:
        outcome.failed.append(f"{name}: meson test ended with {code}")
    return outcome
