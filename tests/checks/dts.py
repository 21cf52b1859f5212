"""Whole machines under emulation: the blocking smoke suite of dts/, with pytest. Skipped, case by case, where there is no QEMU."""
from checks.builds import GCC
from checks.context import Outcome
from checks.pytest_report import read_cases

SUITES = ("smoke", "namespaces")
SECONDS_MAX = 1800  # a minute and a half on idle cores


def check(context):
    if not (context.build / GCC / "app" / "sluiced").exists():
        return Outcome(failed=["dts: build/gcc/app/sluiced was not built (the gcc stage comes first)"])
    report = context.build / "logs" / "dts.xml"
    report.unlink(missing_ok=True)
    # Best effort: what cannot be installed is found missing by the suites, which then say so.
    context.run(["scripts/install", "dts"], timeout=600)
    code = context.run(
        ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-c", "dts/pytest.ini", "--rootdir", "dts", "-v",
         "--tb=short", "-o", "junit_family=xunit2", f"--junit-xml={report}", *(f"dts/suites/test_{name}.py" for name in SUITES)],
        env={"SLUICE_BUILD": str(context.build / GCC), "PYTHONDONTWRITEBYTECODE": "1"}, timeout=SECONDS_MAX)
    outcome = read_cases(report, "suites.")
    if code != 0 and not outcome.failed:
        outcome.failed.append(f"dts: pytest ended with {code}")
    return outcome
