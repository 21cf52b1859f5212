"""Text checks that need no build: C++ format, shell and Python scripts, what no file may hold."""
import re

from checks.context import Outcome

LINES_MAX = 500  # STYLE: aim at files under 500 lines; a file far past it has two ideas


def check_format(context):
    outcome = Outcome()
    files = context.files("*.cc", "*.h")
    for start in range(0, len(files), 50):
        context.run(["clang-format", "--dry-run", "-Werror", "--style=file", *files[start:start + 50]])
    # One verdict a file, from the diagnostics just logged.
    bad = set(re.findall(r"^(\S+?):\d+:\d+: error: code should be clang-formatted",
                         context.log_path.read_text(errors="replace"), re.MULTILINE))
    outcome.passed = len(files) - len(bad)
    outcome.failed = [f"format: {name} (scripts/dev fmt)" for name in sorted(bad)]
    return outcome


def check_scripts(context):
    outcome = Outcome()
    scripts = [name for name in context.files("scripts/*", ".ci/*", "perf/*", "tests/*", "dts/*", "*.sh")
               if is_shell(context.root / name)]
    for name in scripts:
        if context.run(["shellcheck", "--severity=style", "-x", name]) == 0:
            outcome.passed += 1
        else:
            outcome.failed.append(f"shellcheck: {name}")
    for name in context.files("*.py"):
        try:
            compile((context.root / name).read_bytes(), name, "exec")
            outcome.passed += 1
        except (SyntaxError, ValueError) as error:
            context.log(str(error))
            outcome.failed.append(f"python: {name}")
    return outcome


def is_shell(path):
    with open(path, "rb") as file:
        first = file.readline(100)
    return first.startswith(b"#!") and (b"bash" in first or b"/sh" in first)


def check_text(context):
    """What STYLE asks of every C++ file and a machine can see."""
    outcome = Outcome()
    for name in context.files("lib/*.h", "lib/*.cc", "app/*.h", "app/*.cc"):
        faults = []
        text = (context.root / name).read_text()
        lines = text.split("\n")
        if name.endswith(".h") and "lib/forbidden/" not in name and "#pragma once" not in text:
            faults.append("no #pragma once")
        if len(lines) > LINES_MAX + 1:
            faults.append(f"{len(lines)} lines (at most {LINES_MAX})")
        for number, line in enumerate(lines, 1):
            if re.search(r"\b(TODO|FIXME|XXX)\b", line):
                faults.append(f"line {number}: an issue, not a {line.strip()[:40]!r}")
            if re.match(r'\s*#\s*include\s+"\.\.', line):
                faults.append(f"line {number}: include by layer name, not by a relative path")
        for fault in faults:
            context.log(f"{name}: {fault}")
        if faults:
            outcome.failed.append(f"text: {name}: {faults[0]}")
        else:
            outcome.passed += 1
    return outcome
