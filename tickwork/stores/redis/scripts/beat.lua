-- Renew a node's lease. ARGV: node, its JSON, lease_us, now_us ('' for the server's own time),
-- '1' for its first beat, '1' for its last. Returns whether it was alive, and the time.
local node, now_us = ARGV[1], ARGV[4]
if now_us == '' then
  local time = redis.call('TIME')
  now_us = string.format('%.0f', time[1] * 1000000 + time[2])
end
local alive = is_alive(node)
if ARGV[6] == '1' then
  local holds = redis.call('ZLEXCOUNT', LEASES, '[' .. node .. '\n', '(' .. node .. '\v')
  if holds == 0 then
    redis.call('HDEL', NODES, node)
    redis.call('HDEL', EPOCHS, node)
  end
  return { alive and 1 or 0, now_us }
end
if ARGV[5] ~= '1' and not alive then
  return { 0, now_us }
end
if ARGV[5] == '1' then
  redis.call('HDEL', EPOCHS, node)
end
local expires_us = string.format('%.0f', tonumber(now_us) + tonumber(ARGV[3]))
redis.call('HSET', NODES, node, 'A ' .. expires_us .. ' ' .. now_us .. '\n' .. ARGV[2])
return { 1, now_us }
