-- Background in turns, a fifth each: UDP to port 9, the same in frames to everyone, the same to an address that is not the target's, ICMP
-- with a checksum that is wrong (23.06.1 cannot do better), ACKs of no connection.
local sluice = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "sluice.lua")

sluice.run(function()
  local everyone, elsewhere = "ff:ff:ff:ff:ff:ff", "203.0.113.9"
  local from, to = sluice.asked("SLUICE_SOURCE_MAC"), sluice.asked("SLUICE_TARGET_MAC")
  local source, target = sluice.asked("SLUICE_SOURCE"), sluice.asked("SLUICE_TARGET")
  -- (A sequence takes no IPv6 address: seq_map of 23.06.1.)
  local frames = {{to, target, 9, "udp"}, {everyone, target, 9, "udp"}, {to, elsewhere, 9, "udp"}, {to, target, 9, "icmp"}, {to, target, 80, "tcp"}}
  local commands = {}
  for place, frame in ipairs(frames) do
    local mac, address, port, protocol = table.unpack(frame)
    commands[place] = string.format("sequence %d %s %s %s %s %s/24 2000 %d ipv4 %s 1 64", place - 1, sluice.port, mac, from, address, source, port,
                                    protocol)
  end
  sluice.commands(table.unpack(commands))
  pktgen.set(sluice.port, "seq_cnt", #frames)
end)
