-- Keys of runs: at most so many runs hold one as the first that waits for it allows. What waits:
-- key, rank, instant, run, limit, executor, task, function.

local entered = {} -- runs that have got their key

-- Give a key to those that wait for it, as far as the first of them may have it.
local function open_gate(key)
  local held = tonumber(redis.call('HGET', HOLDERS, key) or '0')
  local min, max = '[' .. key .. '\n', '(' .. key .. '\v'
  local entry = redis.call('ZRANGEBYLEX', WAITERS, min, max, 'LIMIT', '0', '1')[1]
  while entry do
    local rank, instant, id, limit, executor, about =
      string.match(entry, '^[^\n]*\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
    if held >= tonumber(limit) then
      break
    end
    redis.call('ZREM', WAITERS, entry)
    local text = redis.call('HGET', RUNS, id) or ''
    -- An entry that leads nowhere goes with the others.
    if string.find(text, '^%d+ G ') then
      held = held + 1
      entered[#entered + 1] = id
      redis.call('HSET', RUNS, id, (string.gsub(text, ' G ', ' A ', 1)))
      local line = executor .. '\n' .. (rank == '0' and '' or rank .. '\n')
      redis.call('ZADD', AVAILABLE, '0', line .. instant .. '\n' .. id .. '\n' .. about)
    end
    entry = redis.call('ZRANGEBYLEX', WAITERS, min, max, 'LIMIT', '0', '1')[1]
  end
  if held > 0 then
    redis.call('HSET', HOLDERS, key, held)
  else
    redis.call('HDEL', HOLDERS, key)
  end
end

local gates = {}

function gates.leave(key)
  redis.call('HINCRBY', HOLDERS, key, -1)
  open_gate(key)
end

function gates.wait(key, entry)
  redis.call('ZADD', WAITERS, '0', entry)
  open_gate(key)
end

function gates.drop(key, entry)
  if redis.call('ZREM', WAITERS, entry) == 0 then
    gates.leave(key) -- it was let through by what has happened before in this script
  else
    open_gate(key) -- the next one may be content with less
  end
end

-- Take steps {after how many ends, what, key, entry}, in order, between the ends of runs; `left`
-- are the keys that these held, by their places.
local function pass_gates(steps, left, ends)
  local place = 1
  for ended = 0, ends do
    if left[ended] then
      gates.leave(left[ended])
    end
    while steps[place] and (steps[place][1] <= ended or ended == ends) do
      local _, what, key, entry = unpack(steps[place])
      gates[what](key, entry)
      place = place + 1
    end
  end
end
