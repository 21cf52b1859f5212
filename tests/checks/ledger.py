"""docs/rfc: every file and test that the RFC ledger names exists; nothing in it stands without a test or a reason."""
import re
import tomllib

from checks.context import Outcome

FIELDS = {"id", "level", "says", "where", "tests", "note"}
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED", "MAY", "advice"}


def check(context):
    outcome = Outcome()
    for name in context.files("docs/rfc/*.toml"):
        faults = faults_of(context.root, tomllib.loads((context.root / name).read_text()))
        for fault in faults:
            context.log(f"{name}: {fault}")
        if faults:
            outcome.failed.append(f"ledger: {name}: {faults[0]}")
        else:
            outcome.passed += 1
    if not outcome.passed and not outcome.failed:
        outcome.failed.append("ledger: docs/rfc holds no ledger")
    return outcome


def faults_of(root, ledger):
    """What is wrong with one file of the ledger; each a line."""
    faults, seen = [], set()
    for entry in ledger.get("requirement", []):
        ident = entry.get("id", "?")
        if ident in seen:
            faults.append(f"{ident} stands there twice")
        seen.add(ident)
        if set(entry) - FIELDS:
            faults.append(f"{ident}: unknown fields {', '.join(sorted(set(entry) - FIELDS))}")
        if entry.get("level") not in LEVELS:
            faults.append(f"{ident}: level {entry.get('level')!r}")
        if not entry.get("says"):
            faults.append(f"{ident}: says nothing")
        if not entry.get("tests") and not entry.get("note"):
            faults.append(f"{ident}: neither a test nor a reason")
        if entry.get("tests") and not entry.get("where"):
            faults.append(f"{ident}: a test, but no file that implements it")
        faults += [f"{ident}: no file {path}" for path in entry.get("where", []) if not (root / path).is_file()]
        faults += [f"{ident}: no test {test}" for test in entry.get("tests", []) if not is_test(root, test)]
    return faults or ([] if seen else ["no requirement"])


def is_test(root, test):
    """FILE, or FILE:Suite.Name."""
    path, _, case = test.partition(":")
    if not path.startswith("tests/") or not (root / path).is_file():
        return False
    if not case:
        return True
    suite, _, name = case.partition(".")
    return re.search(rf"TEST(_F|_P)?\({re.escape(suite)},\s*{re.escape(name)}\)", (root / path).read_text()) is not None
