-- What the scripts of this folder share. For Pktgen-DPDK 23.06.1 with DPDK 22.11, one port, numbered 0.
--
-- Where to send is in the environment: SLUICE_TARGET_MAC, SLUICE_TARGET, SLUICE_SOURCE_MAC, SLUICE_SOURCE, SLUICE_COUNT (frames). What went
-- out is printed, and goes to the file SLUICE_RESULT where that is set.
local sluice = {port = "0"}

local PATIENCE_S = 200
local STATISTICS_MS = 2500 -- Pktgen reads the port's counters once a second, later where the cores are busy

-- The value of an environment variable; an error where there is none.
function sluice.asked(name)
  local value = os.getenv(name)
  if not value then error(name .. " is not set") end
  return value
end

-- Runs commands of Pktgen's command line: its Lua library knows no TCP flags, and takes a frame's number for the port's
-- (pktgen_get_portlist() of 23.06.1), so that only the first of a sequence can be set.
function sluice.commands(...)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(table.concat({...}, "\n"), "\n")
  file:close()
  pktgen.run("cmd", path, "") -- it wants a third argument and ignores it
  os.remove(path)
end

local function say(text)
  print("sluice: " .. text)
  local path = os.getenv("SLUICE_RESULT")
  if path then
    local file = assert(io.open(path, "a"))
    file:write(text, "\n")
    file:close()
  end
end

-- What the port's driver says that it has sent.
local function left()
  return pktgen.portStats(sluice.port, "port")[tonumber(sluice.port)].opackets
end

local function send(prepare)
  local count = math.tointeger(tonumber((sluice.asked("SLUICE_COUNT"))))
  pktgen.screen("off")
  prepare()
  pktgen.set(sluice.port, "count", count)
  pktgen.set(sluice.port, "rate", 100)
  pktgen.delay(STATISTICS_MS)
  local before = left()
  pktgen.start(sluice.port)
  for _ = 1, PATIENCE_S do
    pktgen.delay(1000)
    if left() - before >= count then break end
  end
  pktgen.stop(sluice.port)
  pktgen.delay(STATISTICS_MS)
  say(string.format("sent %d", left() - before))
end

-- Sends what prepare() has set up, as fast as the port takes it, and ends Pktgen, also after an error: an error in a script leaves
-- Pktgen at its prompt, where it waits for ever.
function sluice.run(prepare)
  local good, reason = pcall(send, prepare)
  if not good then say("error " .. tostring(reason)) end
  pktgen.quit()
end

return sluice
