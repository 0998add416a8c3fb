-- stream_id.lua: the random id of a stream; KEYS[1] its blotter-id, ARGV: the id that it gets where
-- it has none. Returns its id.

-- A full Redis refuses commands that need memory, but not behind a first write.
redis.call('PERSIST', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
