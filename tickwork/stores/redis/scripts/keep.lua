-- Write a document. ARGV: its entry, its body, from when on there is none any more ('' for never), the
-- revision that it must have ('' for any), now ('' for the server's own time).
-- Returns its revision, '' where it had another one; or 'repeated', or 'odd' and its text.
local entry, expires = ARGV[1], ARGV[3]
local now = present(ARGV[5])
local revision, expired, text = standing(entry, now)
if is_repeated() then
  return { 'repeated' }
end
if not revision then
  return { 'odd', text }
end
if ARGV[4] ~= '' and ARGV[4] ~= revision then
  return { '' }
end
if expired ~= '' and expired ~= expires then
  redis.call('ZREM', DATED, expired .. '\n' .. entry)
end
revision = string.format('%.0f', revision + 1)
redis.call('HSET', DOCUMENTS, entry, revision .. ' ' .. now .. ' ' .. expires .. '\n' .. ARGV[2])
redis.call('ZADD', TITLES, '0', entry)
if expires ~= '' then
  redis.call('ZADD', DATED, '0', expires .. '\n' .. entry)
end
return { revision }
