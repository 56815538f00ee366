-- Read the number of tasks by state. Returns states and numbers.
local found = redis.call('HGETALL', COUNTS)
local states, numbers = {}, {}
for at = 1, #found, 2 do
  states[#states + 1] = found[at]
  numbers[#numbers + 1] = found[at + 1]
end
return { joined(states), joined(numbers) }
