-- gauge.lua: how much of a stream waits.
--
-- KEYS[1] stream; ARGV: our group; how far it had read, and which entry came next, where the answer
-- before has said so, else "". Returns how many entries it has not read (-1: not known, at least as
-- many as the last value), how many are pending, and the oldest entry id of both ("": none); then how
-- far the group has read and which entry comes next, if large ones do, else ""; and how many entries
-- were looked at.

-- After Redis has reloaded its append-only file its lag is nil, or too large by what waited at the
-- file's last rewrite, for as long as the stream is busy; so it is once a replica has become the
-- master. So entries are looked for, and counted where they are few.
local FEW, BYTES = 100, 65536
-- Redis takes seconds to write out a large one, and serves nobody else meanwhile: once is enough.
local lag, pending, after, read = redis.call('XLEN', KEYS[1]), 0, '-', '0-0'
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[1] then
    lag, pending, read = group['lag'] or -1, group['pending'], group['last-delivered-id']
    after = '(' .. read
  end
end
-- A lag that is not known may come of its deletion.
local first, seen, bytes, large = nil, 0, 0, read == ARGV[2] and lag > 0
if large then first = {ARGV[3]} end
local most = lag < 0 and FEW or math.max(1, math.min(lag, FEW))
while not large and seen < most and bytes < BYTES do
  local entry = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
  if not entry then
    lag = seen
    break
  end
  first, seen, after = first or entry, seen + 1, '(' .. entry[1]
  for _, value in ipairs(entry[2]) do bytes = bytes + #value end
end
local next = first and first[1] or ''
local oldest = next
large = large or bytes > 1048576
if pending > 0 then oldest = redis.call('XPENDING', KEYS[1], ARGV[1])[2] or oldest end
return {lag, pending, oldest, large and read or '', large and next or '', seen}
