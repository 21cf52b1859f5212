"""What a run found, as a Markdown report: each case with what it verified, each figure with how it was taken."""
import datetime
import platform
from dataclasses import dataclass, field


@dataclass
class CaseRecord:
    suite: str
    name: str
    purpose: str
    verified: list = field(default_factory=list)
    noted: list = field(default_factory=list)
    outcome: str = "not run"
    reason: str = ""
    seconds: float = 0.0


@dataclass
class Table:
    """A table that a suite fills cell by cell: rows and columns in the order in which they come."""

    title: str
    cells: dict = field(default_factory=dict)

    def set(self, row, column, value):
        self.cells.setdefault(row, {})[column] = value

    def markdown(self):
        columns = list(dict.fromkeys(column for row in self.cells.values() for column in row))
        lines = [f"| {self.title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        lines += [f"| {row} | {' | '.join(str(cells.get(column, '')) for column in columns)} |"
                  for row, cells in self.cells.items()]
        return "\n".join(lines)


class Report:
    def __init__(self):
        self.cases = []
        self.tables = {}
        self.facts = {}
        self.left = []  # what the run did not take away
        self.strange = []  # what is new on the host besides
        self.looked_at = ""  # where that was looked for
        self.started = datetime.datetime.now(datetime.timezone.utc)

    def table(self, title):
        return self.tables.setdefault(title, Table(title))

    def counts(self):
        return {outcome: sum(case.outcome == outcome for case in self.cases) for outcome in ("passed", "failed", "skipped")}

    def markdown(self):
        counts = self.counts()
        seconds = (datetime.datetime.now(datetime.timezone.utc) - self.started).total_seconds()
        lines = [f"# Testbed run of {self.started:%Y-%m-%d %H:%M} UTC", "",
                 f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped, in {seconds:.0f} s, "
                 f"on {platform.node()} ({platform.release()}).", ""]
        lines += [f"- {name}: {value}" for name, value in self.facts.items()]
        lines += [f"- **left behind**: {each}" for each in self.left] or [f"- left behind: nothing ({self.looked_at})"]
        lines += [f"- new on this host, by others: {len(self.strange)}, as {', '.join(self.strange[:4])}"] if self.strange else []
        for table in self.tables.values():
            lines += ["", table.markdown()]
        for suite in dict.fromkeys(case.suite for case in self.cases):
            lines += ["", f"## {suite}"]
            for case in (case for case in self.cases if case.suite == suite):
                lines += ["", f"### {case.name}: {case.outcome}", "", f"{case.purpose} ({case.seconds:.1f} s)", ""]
                if case.reason:
                    lines += [f"- **{case.outcome}**: {case.reason}"]
                lines += [f"- verified: {text}" for text in case.verified]
                lines += [f"- {text}" for text in case.noted]
        return "\n".join(lines) + "\n"
