-- stream_id.lua: the random id of a stream; KEYS[1] its blotter-id, ARGV: the id that it gets where
-- it has none. Returns its id.

-- A full Redis refuses commands that need memory, but not behind a first write.
redis.call('PERSIST', KEYS[1])
-- Whoever may add to the stream may write anything there, of any size.
local id = redis.pcall('GET', KEYS[1])
if type(id) == 'string' and #id == #ARGV[1] and id:find('^[0-9a-f]+$') then return id end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
