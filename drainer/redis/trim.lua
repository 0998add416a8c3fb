-- trim.lua: removes entries that every group has acknowledged, the oldest first.
--
-- KEYS[1] stream; ARGV: our group, how many entries to keep, how many may wait for a foreign group.
-- A foreign group that holds back more than its limit is not respected. Returns how many entries
-- were removed, and that group's name if it was overruled. It looks only at the server's own state:
-- an id computed outside would delete unread entries of a promoted replica.

local spare = redis.call('XLEN', KEYS[1]) - tonumber(ARGV[2])
if spare <= 0 then return {0} end

-- Ids are compared as text, number by number: a double does not hold 64 bits.
local function less(a, b)
  local ams, aseq = a:match('^(%d+)-(%d+)$')
  local bms, bseq = b:match('^(%d+)-(%d+)$')
  if #ams ~= #bms then return #ams < #bms end
  if ams ~= bms then return ams < bms end
  if #aseq ~= #bseq then return #aseq < #bseq end
  return aseq < bseq
end

local ours, others, slowest
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  local pending = redis.call('XPENDING', KEYS[1], group['name'])
  local needed = group['last-delivered-id']
  if pending[1] > 0 then needed = pending[2] end
  if group['name'] == ARGV[1] then
    ours = needed
  elseif others == nil or less(needed, others) then
    others, slowest = needed, group['name']
  end
end
if ours == nil then return {0} end

local safe, overruled = ours, nil
if others ~= nil and less(others, ours) then
  if spare > tonumber(ARGV[3]) then overruled = slowest else safe = others end
end
return {redis.call('XTRIM', KEYS[1], 'MINID', '~', safe, 'LIMIT', spare), overruled}
