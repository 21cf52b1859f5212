"""Reading what `sluicectl stats --json` says."""
# Packet buffers to receive with have no row: a pool holds some 2,000 of them, so a leak ends all service within the first
# test that sends more frames than that.
# Rows that must be zero when nobody is being served. (TIME-WAIT is not among them: it is meant to stay.)
AT_REST = ("tcp_connections", "tcp_half_open", "tcp_send_queues", "tcp_receive_buffers", "head_slots_used",
           "objects_used", "lookups_open", "nic_pins", "nic_frames_in_flight")


def total(stats, name):
    """A counter or gauge, summed over the workers and the store."""
    assert name in stats["total"], f"no row {name} in the statistics"
    return stats["total"][name]

