-- How orders of what is due or available are searched: the executor's entries only, passing over
-- those whose function or task is left out. An entry: executor, instant, ..., task, function; those
-- of runs may have a rank before the instant.
-- A line is what stands in one order of instants: the words before these, and the bounds between
-- which they are.

local PAGE = 1000
local WIDTH = 19 -- of an instant

local function line_of(executor)
  return { words = executor, rank = '0', from = '', to = '' }
end

-- Iterate over the lines of an executor's runs, with the first entry of each; lowest rank first.
local function lines(order, executor)
  local min, max = '[' .. executor .. '\n', '(' .. executor .. '\v'
  return function()
    local first = redis.call('ZRANGEBYLEX', order, min, max, 'LIMIT', '0', '1')[1]
    if not first then
      return nil
    end
    local rank = string.match(first, '^[-:]%d+', #executor + 2)
    if not rank then
      min = '[' .. executor .. '\n:'
      return { words = executor, rank = '0', from = '0', to = ':' }, first
    end
    local words = executor .. '\n' .. rank
    min = '(' .. words .. '\v'
    return { words = words, rank = rank, from = '', to = '' }, first
  end
end

-- Find up to `limit` entries of a line between two instants (texts; '' for no bound).
-- `wanted(rest)` says whether an entry may be taken by what stands behind its instant.
local function search(order, line, since, till, limit, wanted)
  local words = line.words
  local min = '[' .. words .. '\n' .. (since == '' and line.from or since)
  local to = till == '' and line.to or till
  local max = to == '' and '(' .. words .. '\v' or '(' .. words .. '\n' .. to
  if not wanted then
    return redis.call('ZRANGEBYLEX', order, min, max, 'LIMIT', '0', limit)
  end
  local found = {}
  local rest = #words + WIDTH + 3
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
local function instant_of(entry, line)
  return string.sub(entry, #line.words + 2, #line.words + WIDTH + 1)
end

-- Entries of several lines in the order of their ranks and instants.
local function merged(found)
  if #found == 1 then
    return found[1].entries
  end
  local keyed = {}
  for _, each in ipairs(found) do
    for at, entry in ipairs(each.entries) do
      keyed[#keyed + 1] = { each.line.rank .. '\n' .. instant_of(entry, each.line), entry }
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

-- The earlier of an instant and that of the first entry of a line that may be taken.
local function nearest(instant, order, line, since, wanted)
  local entry = search(order, line, since, '', 1, wanted)[1]
  local other = entry and instant_of(entry, line)
  return other and (instant == '' or other < instant) and other or instant
end
