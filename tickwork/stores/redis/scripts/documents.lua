-- Read a page of documents. ARGV: two bounds, how many entries to look at, 'up' or 'down', now ('' for
-- the server's own time). Returns the last entry that was looked at ('' at the end); and of those
-- that are there the entries, and the texts.
local limit = tonumber(ARGV[3])
local now = present(ARGV[5])
local found
if ARGV[4] == 'down' then
  found = redis.call('ZREVRANGEBYLEX', TITLES, ARGV[2], ARGV[1], 'LIMIT', '0', limit)
else
  found = redis.call('ZRANGEBYLEX', TITLES, ARGV[1], ARGV[2], 'LIMIT', '0', limit)
end
local entries, texts = {}, {}
for at = 1, #found do
  local revision, _, text = standing(found[at], now)
  if revision ~= '0' then
    entries[#entries + 1] = found[at]
    texts[#texts + 1] = text
  end
end
return { #found == limit and found[limit] or '', entries, texts }
