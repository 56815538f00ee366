-- Read some tasks, in no order. ARGV: cursor, how many. Returns the next cursor, ids, texts,
-- definitions.
local found = redis.call('HSCAN', TASKS, ARGV[1], 'COUNT', ARGV[2])
local ids, texts = {}, {}
for at = 1, #found[2], 2 do
  ids[#ids + 1] = found[2][at]
  texts[#texts + 1] = found[2][at + 1]
end
return { found[1], joined(ids), joined(texts), joined(values_of(DEFINITIONS, ids)) }
