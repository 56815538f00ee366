-- Read the locks that say something. ARGV[1]: now ('' for the server's own time).
-- Returns entries and texts.
local entries = redis.call('ZRANGEBYLEX', LAPSING, '(' .. present(ARGV[1]) .. '\v', '+')
local names = {}
for at = 1, #entries do
  names[at] = string.match(entries[at], '\n(.*)$')
end
return { joined(entries), joined(values_of(LOCKS, names)) }
