"""docs/drivers.md's table of what was run on each device, and the profiles of drivers_config: they say the same."""
import tomllib

from checks.context import Outcome

BEGIN, END = "<!-- written by scripts/dts features --write -->", "<!-- end -->"
# The profile of a device, by the first word of its row.
PROFILES = {"e1000": "e1000", "e1000-82545em": "e1000", "e1000e": "e1000", "vmxnet3": "vmxnet3", "virtio-net": "virtio"}
# What a profile has in offloads.use where these columns say pass.
OFFLOADS = {"checksum": {"rx_checksum", "tx_checksum"}, "TSO": {"tcp_segmentation"}, "chained mbufs": {"chained_mbufs"}}
VERDICTS = ("pass", "not offered", "claimed")
COLUMNS = ("device", "queues", "RSS", "checksum", "TSO", "chained mbufs", "IPv6", "wrong checksums", "odd sizes", "jumbo MTU", "VLAN", "link events")


def check(context):
    outcome = Outcome()
    table = (context.root / "docs" / "drivers.md").read_text().partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    if not rows or tuple(rows[0]) != COLUMNS:
        outcome.failed.append("drivers: docs/drivers.md has no table of all columns")
        return outcome
    missing = set(PROFILES) - {row[0].split()[0] for row in rows[2:]}
    outcome.failed += [f"drivers: docs/drivers.md has no row of {name}" for name in sorted(missing)]
    for row in rows[2:]:
        faults = faults_of(context.root, dict(zip(COLUMNS, row)))
        for fault in faults:
            context.log(f"docs/drivers.md: {row[0]}: {fault}")
        if faults:
            outcome.failed.append(f"drivers: {row[0]}: {faults[0]}")
        else:
            outcome.passed += 1
    return outcome


def faults_of(root, row):
    """Where a row and its profile differ; each a line."""
    device = row["device"].split()[0]
    if device not in PROFILES:
        return ["no profile is known"]
    profile = tomllib.loads((root / "drivers_config" / f"{PROFILES[device]}.toml").read_text())
    used, faults = set(profile["offloads"]["use"]), []
    faults += [f"column {name} says {row.get(name)!r}" for name in COLUMNS[2:] if not row.get(name, "").startswith(VERDICTS)]
    if not row["queues"].isdigit() or int(row["queues"]) > profile["queues"]["pairs_max"]:
        faults.append(f"{row['queues']} queues, the profile has at most {profile['queues']['pairs_max']}")
    for column, wanted in OFFLOADS.items():
        if (row[column] == "pass") != (wanted <= used):
            faults.append(f"{column}: {row[column]}, the profile uses {', '.join(sorted(used))}")
    if (row["RSS"] == "not offered") != (profile["steering"]["mode"] != "rss"):
        faults.append(f"RSS: {row['RSS']}, the profile steers by {profile['steering']['mode']}")
    if not profile["verified"].startswith("run: ") or device.removesuffix("-net") not in profile["verified"]:
        faults.append("the profile does not say that it was run")
    return faults
