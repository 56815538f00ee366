-- Read a page of an order. ARGV: its name, two bounds, the limit, 'up' or 'down', and 'runs' to
-- have the runs, too, whose ids are the last words. Returns the entries, and the runs' texts.
local NAMED = { newest = NEWEST, history = HISTORY, leases = LEASES, queues = QUEUES,
  labels = LABELS, ids = IDS, asked = ASKED, expiring = EXPIRING }
local order, min, max, limit = NAMED[ARGV[1]], ARGV[2], ARGV[3], ARGV[4]
local entries
if ARGV[5] == 'down' then
  entries = redis.call('ZREVRANGEBYLEX', order, max, min, 'LIMIT', '0', limit)
else
  entries = redis.call('ZRANGEBYLEX', order, min, max, 'LIMIT', '0', limit)
end
if ARGV[6] == '' then
  return { joined(entries) }
end
local ids = {}
for at = 1, #entries do
  ids[at] = string.match(entries[at], '([^\n]*)$')
end
return { joined(entries), joined(values_of(RUNS, ids)) }
