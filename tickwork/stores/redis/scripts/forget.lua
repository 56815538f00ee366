-- Forget locks that say nothing any more. ARGV: at which instant, now ('' for the server's own
-- time), and how many. Who asks may have a clock that is fast: nothing that holds now is forgotten.
-- Returns how many went.
local till, now = ARGV[1], present(ARGV[2])
if till > now then
  till = now
end
local entries = redis.call('ZRANGEBYLEX', LAPSING, '-', '(' .. till .. '\v', 'LIMIT', '0', ARGV[3])
local names = {}
for at = 1, #entries do
  names[at] = string.match(entries[at], '\n(.*)$')
end
in_chunks('HDEL', LOCKS, names)
in_chunks('ZREM', LAPSING, entries)
return { #names }
