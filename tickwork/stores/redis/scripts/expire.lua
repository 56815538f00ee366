-- Forget documents that have expired. ARGV: at which instant, now ('' for the server's own time), and
-- how many. Who asks may have a clock that is fast: nothing that is there now is forgotten.
local till, now = ARGV[1], present(ARGV[2])
if till > now then
  till = now
end
local dated = redis.call('ZRANGEBYLEX', DATED, '-', '(' .. till .. '\v', 'LIMIT', '0', ARGV[3])
local entries = {}
for at = 1, #dated do
  entries[at] = string.match(dated[at], '\n(.*)$')
end
in_chunks('HDEL', DOCUMENTS, entries)
in_chunks('ZREM', TITLES, entries)
in_chunks('ZREM', DATED, dated)
return { #entries }
