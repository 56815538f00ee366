-- Find disposable tasks that finished before an instant and have no runs any more.
-- ARGV: where to begin, the instant, how many entries to look at. Returns the last entry that was
-- looked at ('' at the end), and tasks.
local limit = tonumber(ARGV[3])
local entries = redis.call('ZRANGEBYLEX', FINISHED, ARGV[1], '(' .. ARGV[2], 'LIMIT', '0', limit)
local tasks = {}
for at = 1, #entries do
  local task = string.match(entries[at], '\n(.*)$')
  if redis.call('ZLEXCOUNT', HISTORY, '[' .. task .. '\n', '(' .. task .. '\v') == 0 then
    tasks[#tasks + 1] = task
  end
end
return { #entries == limit and entries[limit] or '', joined(tasks) }
