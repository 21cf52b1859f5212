"""Real clients against sluiced in network namespaces: tests/integration, with pytest."""
from checks.builds import ASAN, GCC, SANITIZER_ENVIRONMENT
from checks.context import Outcome
from checks.pytest_report import read_cases


def check(context):
    for program in ("sluiced", "sluicectl"):
        if not (context.build / GCC / "app" / program).exists():
            return Outcome(failed=[f"integration: build/gcc/app/{program} was not built (the gcc stage comes first)"])
    report = context.build / "logs" / "integration.xml"
    report.unlink(missing_ok=True)
    code = context.run(
        ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-v", "--tb=short", "-o", "junit_family=xunit2",
         f"--junit-xml={report}", *(["--quick"] if context.quick else []), "tests/integration"],
        env={"SLUICE_BUILD": str(context.build / GCC), "SLUICE_BUILD_ASAN": str(context.build / ASAN),
             "PYTHONDONTWRITEBYTECODE": "1", **SANITIZER_ENVIRONMENT}, timeout=3000)
    outcome = read_cases(report, "tests.")
    if code != 0 and not outcome.failed:
        outcome.failed.append(f"integration: pytest ended with {code}")
    return outcome
