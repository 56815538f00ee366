-- Count the runs of a task (ARGV[1]), or where it is '' all.
if ARGV[1] == '' then
  return { redis.call('ZCARD', NEWEST) }
end
return { redis.call('ZLEXCOUNT', HISTORY, '[' .. ARGV[1] .. '\n', '(' .. ARGV[1] .. '\v') }
