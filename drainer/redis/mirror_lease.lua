-- mirror_lease.lua: shares a stream among mirrors: who reads it, and how many would.
--
-- KEYS[1] blotter-mirror of the stream. ARGV: a mirror's name, milliseconds that a lease lasts, "1"
-- if the mirror wants the stream or keeps it, "0" if not. Returns {1 if it is the mirror's, number
-- of mirrors seen within the time}. A lease is soft: it only saves work done twice.

local time = redis.call('TIME')
local now, lasts = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'seen:' .. ARGV[1], string.format('%.0f', now))
local flat, state, mirrors = redis.call('HGETALL', KEYS[1]), {}, 0
for i = 1, #flat, 2 do
  state[flat[i]] = flat[i + 1]
  if flat[i]:sub(1, 5) == 'seen:' then
    if now - (tonumber(flat[i + 1]) or 0) > lasts then
      redis.call('HDEL', KEYS[1], flat[i])
    else
      mirrors = mirrors + 1
    end
  end
end
local ours = state['holder'] == ARGV[1]
local free = ours or not state['holder'] or (tonumber(state['until'] or '') or 0) < now
if free and ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', string.format('%.0f', now + lasts))
  ours = true
elseif ours then
  redis.call('HDEL', KEYS[1], 'holder', 'until')
  ours = false
end
redis.call('PEXPIRE', KEYS[1], 10 * lasts)
return {ours and 1 or 0, mirrors}
