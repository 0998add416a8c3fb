-- claim_stream.lua: claims a stream for a PostgreSQL and a drainer.
--
-- KEYS: stream, its blotter-load. ARGV: history, holder, system, timeline, n (loading transactions
-- that the server knows), all ids of its history, "1" if a person accepts whatever Redis says, our
-- group, the newest entry id that the server knows.
-- Returns {"refused", history, system, timeline} of the server that the stream was loaded into; or
-- {"taken", n that Redis knew, first entry id, were entries trimmed? 1 or 0, how many entries are
-- pending (-1: not known), the last entry id that the group has read ("": not known), the entry id
-- from which on the stream is to be loaded again ("": it need not be)}.
-- First id and trimming are told only where the stream will be loaded again: Redis tells them with
-- the first and the last entry whole, which takes it minutes if these are as large as they may be.
-- All of it is loaded again where it was last loaded into an earlier timeline of the same server
-- that the server has no row of. What is to be loaded again is kept until it is (settle.lua): by
-- then the server knows of newer entries, and of as many transactions as it ever did.

-- include less.lua

-- A full Redis refuses commands that need memory, but not behind a first write.
redis.call('PERSIST', KEYS[2])
local flat, load = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #flat, 2 do load[flat[i]] = flat[i + 1] end

local n, from = tonumber(ARGV[5]), load['reload'] or ''
local accepted = ARGV[7] == '1' and load['history'] ~= ARGV[1]
if accepted or not from:find('^%d+-%d+$') then from = '' end
if load['history'] and not ARGV[6]:find(load['history'], 1, true) and ARGV[7] ~= '1' then
  local earlier = tonumber(load['timeline'] or '') or math.huge
  if load['system'] ~= ARGV[3] or earlier >= tonumber(ARGV[4]) then
    return {'refused', load['history'], load['system'] or '', load['timeline'] or ''}
  end
  from = '0-0'
end
local known = tonumber(load['n'] or '') or n
if known < n or accepted then known = n end
if known > n and (from == '' or less(ARGV[9], from)) then from = ARGV[9] end
redis.call('HSET', KEYS[2], 'history', ARGV[1], 'holder', ARGV[2], 'system', ARGV[3],
  'timeline', ARGV[4], 'n', string.format('%.0f', known), 'reload', from)

local first, trimmed = '', 0
local info, stream = from ~= '' and redis.pcall('XINFO', 'STREAM', KEYS[1]) or {err = ''}, {}
if not info['err'] then
  for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
  first = stream['first-entry'] and stream['first-entry'][1] or stream['last-generated-id']
  if (stream['entries-added'] or 0) > stream['length'] then trimmed = 1 end
end
local pending, read = redis.pcall('XPENDING', KEYS[1], ARGV[8]), ''
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
for _, flat in ipairs(groups['err'] and {} or groups) do
  local group = {}
  for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
  if group['name'] == ARGV[8] then read = group['last-delivered-id'] end
end
return {'taken', known, first, trimmed, pending['err'] and -1 or pending[1], read, from}
