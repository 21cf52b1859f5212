-- Frames of 64 bytes, UDP to port 9, all alike: what is fastest.
local sluice = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "sluice.lua")

sluice.run(function()
  local port = sluice.port
  pktgen.set_mac(port, "dst", sluice.asked("SLUICE_TARGET_MAC"))
  pktgen.set_ipaddr(port, "src", sluice.asked("SLUICE_SOURCE") .. "/24")
  pktgen.set_ipaddr(port, "dst", sluice.asked("SLUICE_TARGET"))
  pktgen.set_proto(port, "udp")
  pktgen.set(port, "sport", 1024)
  pktgen.set(port, "dport", 9)
  pktgen.set(port, "size", 64)
end)
