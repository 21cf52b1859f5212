"""The testbed: whole machines under emulation, and network namespaces, joined by links that a topology file describes."""


class Unavailable(Exception):
    """What the testbed needs cannot be had on this host: the suites are skipped, and say so."""


class MachineLost(AssertionError):
    """A machine ended, or does not answer any more."""
