-- Count runs in histories. ARGV[1]: [task, ...] as JSON. Returns the numbers.
local numbers = {}
for at, task in ipairs(cjson.decode(ARGV[1])) do
  numbers[at] = redis.call('ZLEXCOUNT', HISTORY, '[' .. task .. '\n', '(' .. task .. '\v')
end
return { joined(numbers) }
