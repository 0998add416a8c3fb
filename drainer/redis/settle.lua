-- settle.lua: acknowledges entries that are committed and confirms their records, if the stream is
-- still ours.
--
-- KEYS: stream, its blotter-load, then a key for each confirmation. ARGV: history, holder, n
-- (loading transactions committed, and nothing is to be loaded again; "": that stays as it is),
-- group, number of entries, their ids, then the ranges of each confirmation. Returns {entries
-- acknowledged, stream}; -1 entries: it is not ours, and nothing was done.
--
-- A confirmation waits an hour for its producer: Redis takes 5 KB for each, and a strategy in a crash
-- loop leaves one at every start. Whoever comes later sends what it has again, which is stored once.
-- So does one whose confirmations went for others: whoever adds to a stream may make up producers
-- without end, so those of the newest MOST are kept.

-- include fence.lua
if not is_ours() then return {-1, KEYS[1]} end
local acked, count = 0, tonumber(ARGV[5])
-- First: behind a write, a full Redis takes the others as well.
if count > 0 then acked = redis.call('XACK', KEYS[1], ARGV[4], unpack(ARGV, 6, 5 + count)) end
if ARGV[1] ~= '' and ARGV[3] ~= '' then redis.pcall('HSET', KEYS[2], 'n', ARGV[3], 'reload', '') end
local MOST, names = 4096, 'blotter-ack:{' .. KEYS[1] .. '}'
for i = 3, #KEYS do
  local new = redis.pcall('XLEN', KEYS[i]) == 0
  redis.pcall('XADD', KEYS[i], 'MAXLEN', '~', 1000, '*', 'settled', ARGV[3 + count + i])
  redis.pcall('EXPIRE', KEYS[i], 3600)
  local kept = new and redis.pcall('RPUSH', names, KEYS[i])
  if type(kept) == 'number' then
    redis.pcall('EXPIRE', names, 3600)
    local oldest = kept > MOST and redis.pcall('LPOP', names)
    if type(oldest) == 'string' then redis.pcall('DEL', oldest) end
  end
end
return {acked, KEYS[1]}
