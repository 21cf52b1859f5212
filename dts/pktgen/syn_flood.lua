-- SYNs to port 80 from 11,900 addresses of 198.18.0.0/15 (RFC 2544), then the same ones again: Pktgen makes no more frames than it has
-- buffers, and sends those over and over.
local sluice = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "sluice.lua")

sluice.run(function()
  local port, range = sluice.port, pktgen.range
  -- Each is first, step, least and greatest value.
  local function set(field, ...)
    for place, what in ipairs({"start", "inc", "min", "max"}) do range[field](port, what, (select(place, ...))) end
  end
  range.ip_proto(port, "tcp")
  set("src_ip", "198.18.0.1", "0.0.0.11", "198.18.0.1", "198.19.255.254")
  set("dst_ip", sluice.asked("SLUICE_TARGET"), "0.0.0.0", sluice.asked("SLUICE_TARGET"), sluice.asked("SLUICE_TARGET"))
  set("src_port", 1024, 7, 1024, 65000)
  set("dst_port", 80, 0, 80, 80)
  set("pkt_size", 64, 0, 64, 64)
  set("src_mac", sluice.asked("SLUICE_SOURCE_MAC"), "00:00:00:00:00:00", sluice.asked("SLUICE_SOURCE_MAC"), sluice.asked("SLUICE_SOURCE_MAC"))
  set("dst_mac", sluice.asked("SLUICE_TARGET_MAC"), "00:00:00:00:00:00", sluice.asked("SLUICE_TARGET_MAC"), sluice.asked("SLUICE_TARGET_MAC"))
  sluice.commands("range 0 tcp flag clr all", "range 0 tcp flag set syn")
  pktgen.set_range(port, "on")
end)
