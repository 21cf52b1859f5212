"""What a driver's profile makes a device do, for NICs that no suite knows by name."""
import tomllib

from testbed.server import ROOT

NAMES = {"tcp_segmentation": "tso"}  # as `sluicectl ports` calls it


def expected_of(nic):
    """{driver, offloads, vouches} of an end of a link of real machines: `driver` in the topology names its profile."""
    for path in sorted((ROOT / "drivers_config").glob("*.toml")):
        profile = tomllib.loads(path.read_text())
        if nic.driver in profile["pmd_names"] or path.stem == nic.driver.removeprefix("net_"):
            used = {NAMES.get(each, each) for each in profile["offloads"]["use"]}
            return {"driver": nic.driver, "offloads": used, "vouches": "rx_checksum" in used}
    raise ValueError(f"link {nic.link}: no profile of drivers_config is of driver {nic.driver!r}")
