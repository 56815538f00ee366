-- Remove a document. ARGV: its entry, the revision that it must have ('' for any), now ('' for the
-- server's own time). Returns whether it was there; or 'repeated', or 'odd' and its text.
local entry = ARGV[1]
local revision, expires, text = standing(entry, present(ARGV[3]))
if is_repeated() then
  return { 'repeated' }
end
if not revision then
  return { 'odd', text }
end
if revision == '0' or (ARGV[2] ~= '' and ARGV[2] ~= revision) then
  return { '' }
end
redis.call('HDEL', DOCUMENTS, entry)
redis.call('ZREM', TITLES, entry)
if expires ~= '' then
  redis.call('ZREM', DATED, expires .. '\n' .. entry)
end
return { revision }
