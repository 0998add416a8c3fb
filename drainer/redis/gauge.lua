-- gauge.lua: how much of a stream waits.
--
-- KEYS[1] stream; ARGV: our group. Returns how many entries it has not read (-1: not known, some),
-- how many are pending, and the oldest entry id of both ("": none).

-- After Redis has reloaded its append-only file its lag is nil, or the one at the file's last
-- rewrite, for ever. So one entry is looked for.
local lag, pending, after = redis.call('XLEN', KEYS[1]), 0, '-'
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[1] then
    lag, pending, after = group['lag'] or -1, group['pending'], '(' .. group['last-delivered-id']
  end
end
local first = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
if not first then lag = 0 end
local oldest = first and first[1] or ''
if pending > 0 then oldest = redis.call('XPENDING', KEYS[1], ARGV[1])[2] or oldest end
return {lag, pending, oldest}
