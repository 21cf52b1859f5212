"""Reading the cases out of what pytest wrote with --junit-xml."""
import re
import xml.etree.ElementTree as ElementTree

from checks.context import Outcome


def read_cases(report, strip):
    """One passed, failed or skipped for each case; `strip`: what their class names begin with."""
    outcome = Outcome()
    if not report.exists():
        return outcome
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname', '').removeprefix(strip)}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(name)
        elif skipped is not None:
            reason = re.sub(r"\s+", " ", skipped.get("message", ""))
            outcome.skipped.append(f"{name}: {reason}")
        else:
            outcome.passed += 1
    return outcome
