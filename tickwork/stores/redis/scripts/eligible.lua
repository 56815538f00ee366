-- How orders of what is due or available are searched: the executor's entries only, passing over
-- those whose function or task is left out. An entry: executor, instant, ..., task, function.

local PAGE = 1000
local WIDTH = 19 -- of an instant

-- Find up to `limit` entries of an executor between two instants (texts; '' for no bound).
-- `wanted(rest)` says whether an entry may be taken by what stands behind its instant.
local function search(order, executor, since, till, limit, wanted)
  local min = '[' .. executor .. '\n' .. since
  local max = till == '' and '(' .. executor .. '\v' or '(' .. executor .. '\n' .. till
  if not wanted then
    return redis.call('ZRANGEBYLEX', order, min, max, 'LIMIT', '0', limit)
  end
  local found = {}
  local rest = #executor + WIDTH + 3
  local page = math.min(limit, PAGE)
  while #found < limit do
    local entries = redis.call('ZRANGEBYLEX', order, min, max, 'LIMIT', '0', page)
    for at = 1, #entries do
      local entry = entries[at]
      if #found < limit and wanted(string.sub(entry, rest)) then
        found[#found + 1] = entry
      end
    end
    if #entries < page then
      break
    end
    min, page = '(' .. entries[#entries], PAGE
  end
  return found
end

-- Texts of one length that are all digits: their order is that of the numbers.
local function instant_of(entry, executor)
  return string.sub(entry, #executor + 2, #executor + WIDTH + 1)
end

-- Entries of several executors in the order of their instants.
local function merged(found)
  if #found == 1 then
    return found[1].entries
  end
  local keyed = {}
  for _, each in ipairs(found) do
    for at, entry in ipairs(each.entries) do
      keyed[#keyed + 1] = { instant_of(entry, each.executor), entry }
    end
  end
  table.sort(keyed, function(one, other)
    return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
  end)
  for at, each in ipairs(keyed) do
    keyed[at] = each[2]
  end
  return keyed
end

-- The earlier of an instant and that of the first entry that may be taken.
local function nearest(instant, order, executor, since, wanted)
  local entry = search(order, executor, since, '', 1, wanted)[1]
  local other = entry and instant_of(entry, executor)
  return other and (instant == '' or other < instant) and other or instant
end
