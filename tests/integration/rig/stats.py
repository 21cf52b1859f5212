"""Reading what `sluicectl stats --json` says."""
import json

# Rows that must be zero when nobody is being served. (TIME-WAIT is not among them: it is meant to stay.)
AT_REST = ("tcp_connections", "tcp_half_open", "tcp_send_queues", "tcp_receive_buffers", "head_slots_used",
           "objects_used", "lookups_open", "nic_pins", "nic_frames_in_flight")


def total(stats, name):
    """A counter or gauge, summed over the workers and the store."""
    assert name in stats["total"], f"no row {name} in the statistics"
    return stats["total"][name]


def mbufs_free(site):
    """Packet buffers in DPDK's pools, those in the cores' caches included."""
    pools = json.loads(site.sluicectl("raw", "/mempool/list"))
    free = 0
    for pool in pools:
        facts = json.loads(site.sluicectl("raw", "/mempool/info", pool))
        free += facts["common_pool_count"] + facts.get("total_cache_count", 0)
    return free
