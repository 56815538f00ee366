-- Read the server's time in microseconds, and all nodes.
local time = redis.call('TIME')
local found = redis.call('HGETALL', NODES)
local ids, texts = {}, {}
for at = 1, #found, 2 do
  ids[#ids + 1] = found[at]
  texts[#texts + 1] = found[at + 1]
end
return { string.format('%.0f', time[1] * 1000000 + time[2]), joined(ids), joined(texts) }
