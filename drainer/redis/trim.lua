-- trim.lua: removes entries that every group has acknowledged, the oldest first, if the stream is
-- ours.
--
-- KEYS: stream, its blotter-load. ARGV: history, holder, our group, how many entries to keep, how
-- many milliseconds of them, how many bytes at most, how many entries may wait for a foreign group.
-- The kept tail is the longer of both, unless it is larger than the bytes. A foreign group that
-- holds back more than its limit is not respected. Returns how many entries were removed (-1: the
-- stream is not ours), and if a group was overruled, its name and how many entries were removed
-- that the mirrors had not read; these are added up in blotter-load, too. It looks only at the
-- server's own state: an id computed outside would delete unread entries of a promoted replica.

-- include fence.lua
if not is_ours() then return {-1} end
local length = redis.call('XLEN', KEYS[1])
if length == 0 then return {0} end

-- include less.lua

local spare, keep_ms = length - tonumber(ARGV[4]), tonumber(ARGV[5])
local usage = redis.pcall('MEMORY', 'USAGE', KEYS[1])
if type(usage) == 'number' and usage > tonumber(ARGV[6]) then
  local excess = math.ceil(length * (usage - tonumber(ARGV[6])) / usage)
  if excess > spare or keep_ms > 0 then spare, keep_ms = excess, 0 end
end
if spare <= 0 then return {0} end

local ours, others, slowest, mirrors
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == 'mirrors' then mirrors = group end
  local pending = redis.call('XPENDING', KEYS[1], group['name'])
  local needed = group['last-delivered-id']
  if pending[1] > 0 then needed = pending[2] end
  if group['name'] == ARGV[3] then
    ours = needed
  elseif others == nil or less(needed, others) then
    others, slowest = needed, group['name']
  end
end
if ours == nil then return {0} end

local safe, overruled = ours, nil
if others ~= nil and less(others, ours) then
  if spare > tonumber(ARGV[7]) then overruled = slowest else safe = others end
end
if keep_ms > 0 then
  local now = redis.call('TIME')
  local oldest = string.format('%.0f-0', now[1] * 1000 + math.floor(now[2] / 1000) - keep_ms)
  if less(oldest, safe) then safe, overruled = oldest, nil end
end

-- How many entries at the stream's beginning the mirrors have read, if they will miss others. Redis
-- may not know their lag.
local read = length
if overruled and mirrors and less(mirrors['last-delivered-id'], safe) then
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1]
  local none = less(mirrors['last-delivered-id'], first)
  read = none and 0 or math.max(0, length - (mirrors['lag'] or 0))
end
local removed, missed = redis.call('XTRIM', KEYS[1], 'MINID', '~', safe, 'LIMIT', spare), 0
if removed > read then
  missed = removed - read
  local before = tonumber(redis.call('HGET', KEYS[2], 'mirrors_missed') or 0)
  redis.pcall('HSET', KEYS[2], 'mirrors_missed', string.format('%.0f', before + missed))
end
return {removed, overruled, missed}
