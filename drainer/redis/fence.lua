-- fence.lua: is the stream still claimed for the PostgreSQL and by the drainer that ask?
--
-- KEYS[2] blotter-load of the stream; ARGV[1] history ("": nothing is fenced), ARGV[2] holder.

local function is_ours()
  if ARGV[1] == '' then return true end
  local load = redis.call('HMGET', KEYS[2], 'history', 'holder')
  return load[1] == ARGV[1] and load[2] == ARGV[2]
end
