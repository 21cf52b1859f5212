"""Reading what `sluicectl stats --json` says."""

# Rows that must be zero when nobody is being served.
AT_REST = ("tcp_connections", "tcp_half_open", "nic_pins", "nic_frames_in_flight", "head_slots_used")


def total(stats, name):
    """A counter or gauge, summed over workers and ports. Fails when there is no such row."""
    found = list(values_of(stats, name))
    assert found, f"no row {name} in the statistics"
    return sum(found)


def values_of(node, name):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == name and isinstance(value, (int, float)):
                yield value
            else:
                yield from values_of(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from values_of(value, name)
