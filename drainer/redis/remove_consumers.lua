-- remove_consumers.lua: removes a consumer, and those unused for long, where they have nothing
-- pending: removing one that has would lose its entries.
--
-- KEYS[1] stream; ARGV: group, a consumer's name, milliseconds. Returns how many entries are
-- pending under the name.

local left = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  local unused = consumer['name'] == ARGV[2] or consumer['idle'] > tonumber(ARGV[3])
  if consumer['pending'] == 0 and unused then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer['name'])
  elseif consumer['name'] == ARGV[2] then
    left = consumer['pending']
  end
end
return left
