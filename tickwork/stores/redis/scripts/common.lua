-- What all scripts share. KEYS are named before this (TASKS, RUNS, ...); see layout.py.
-- A script isn't taken back when it fails, so each looks at everything before its first write.

local find, sub, match = string.find, string.sub, string.match -- looked up once

local CHUNK = 4000 -- a call takes some 8,000 arguments at most; even, so that pairs stay together
local SEPARATOR = '\30' -- stands in no JSON text, and in no line of words

local function in_chunks(command, key, list)
  for first = 1, #list, CHUNK do
    redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
  end
end

local function add_entries(key, entries)
  local scored = {}
  for at = 1, #entries do
    scored[2 * at - 1] = '0'
    scored[2 * at] = entries[at]
  end
  in_chunks('ZADD', key, scored)
end

-- Values of a hash in the order of the fields; false where there is none.
local function values_of(key, fields)
  if #fields <= CHUNK then
    return #fields > 0 and redis.call('HMGET', key, unpack(fields)) or {}
  end
  local found = {}
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local some = redis.call('HMGET', key, unpack(fields, first, last))
    for at = 1, #some do
      found[first + at - 1] = some[at]
    end
  end
  return found
end

-- Values as one text; an absent one is empty.
local function joined(values)
  for at = 1, #values do
    values[at] = values[at] or ''
  end
  return table.concat(values, SEPARATOR)
end

-- The values that a text was joined of, of which there must be so many.
local function parted(text, count)
  local values, first = {}, 1
  for at = 1, count - 1 do
    local stop = find(text, SEPARATOR, first, true)
    values[at] = sub(text, first, stop - 1)
    first = stop + 1
  end
  assert(not find(text, SEPARATOR, first, true), 'a text has a separator in it')
  values[count] = sub(text, first)
  return values
end

-- Note which runs are leased to a node by this step; the text names the node and them.
local function grant(node, fence, text, count)
  redis.call('HSET', GRANTS, fence, text)
  redis.call('HSET', HOLDS, fence, count)
  redis.call('ZADD', LEASES, '0', node .. '\n' .. fence)
end

local function is_alive(node)
  local text = redis.call('HGET', NODES, node)
  return text and string.sub(text, 1, 1) == 'A'
end

-- Whether a node may not get any runs, and why. When it has asked what it holds, whatever it said
-- before that must not be done any more, also if it arrives later: nobody would hold those runs.
local function refusal(node, epoch)
  if not is_alive(node) then
    return { 'dead' }
  end
  local current = redis.call('HGET', EPOCHS, node) or '0'
  return current ~= epoch and { 'late', current } or nil
end

-- Greater than all before, also if the server has lost what it was told last: it tells the time.
-- The `count` that begin with it are the caller's.
local function next_fence(count)
  local time = redis.call('TIME')
  local fence = time[1] * 1000000 + time[2]
  local last = tonumber(redis.call('GET', FENCE) or '0')
  if fence <= last then
    fence = last + 1
  end
  redis.call('SET', FENCE, string.format('%.0f', fence + count - 1))
  return string.format('%.0f', fence)
end

-- Whether a client's library has sent the same step again, its answer being lost.
local function is_repeated()
  return STEP and not redis.call('SET', STEP, '1', 'NX', 'PX', '60000')
end

local function set_of(list)
  local set = {}
  for at = 1, #list do
    set[list[at]] = true
  end
  return set
end
