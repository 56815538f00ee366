-- Give available runs to a node, those of the lowest rank first. ARGV: node, its epoch, the instant
-- after now, and as JSON {executors, functions, tasks, room: [[executor, places], ...], suspects,
-- only}.
-- Returns 'dead', 'late', 'repeated', or 'leased', when the next run is available ('' for never or
-- unknown), ids, texts and definitions of what was leased, and the entries that were taken.
local node, till = ARGV[1], ARGV[3]
if is_repeated() then
  return { 'repeated' }
end
local refused = refusal(node, ARGV[2])
if refused then
  return refused
end
local asked = cjson.decode(ARGV[4])
local functions, tasks = set_of(asked.functions), set_of(asked.tasks)
local only = asked.only and set_of(asked.only)

local eligible, wanted = nil, nil
if next(functions) or next(tasks) then
  eligible = function(rest)
    local task, name = string.match(rest, '^[^\n]*\n([^\n]*)\n(.*)$')
    return not (functions[name] or tasks[task])
  end
end
wanted = eligible
if only then
  wanted = function(rest)
    return only[string.match(rest, '^[^\n]*')] and (not eligible or eligible(rest))
  end
end

local room = {}
for _, each in ipairs(asked.room) do
  room[each[1]] = each[2]
end

-- Find up to `limit` runs of an executor that may be leased, and add them to others.
local function take(order, executor, limit, found)
  for line, first in lines(order, executor) do
    if instant_of(first, line) < till then
      local entries = search(order, line, '', till, limit, wanted)
      limit = limit - #entries
      found[#found + 1] = { line = line, entries = entries }
    end
    if limit <= 0 then
      break
    end
  end
end

local suspects = {}
if asked.suspects then
  for _, executor in ipairs(asked.executors) do
    if (room[executor] or 0) > 0 then
      take(SUSPECTS, executor, 1, suspects)
    end
  end
end
local suspect = #suspects > 0 and merged(suspects)[1]
if suspect then
  local executor = string.match(suspect, '^[^\n]*')
  room[executor] = room[executor] - 1
end

local found, entries = {}, {}
for _, executor in ipairs(asked.executors) do
  if (room[executor] or 0) > 0 then
    take(AVAILABLE, executor, room[executor], found)
  end
end
for _, each in ipairs(found) do
  for at = 1, #each.entries do
    entries[#entries + 1] = each.entries[at]
  end
end
local plain = #entries
entries[plain + 1] = suspect or nil

local ids, owners = {}, {}
for at = 1, #entries do
  ids[at], owners[at] = string.match(entries[at], '\n%d+\n([^\n]*)\n([^\n]*)\n')
end
local fence = #ids > 0 and next_fence(1) or '0'
local texts, written = values_of(RUNS, ids), {}
local answer = { ids = {}, texts = {}, owners = {} }
for at = 1, #ids do
  local c, attempt, key, body =
    string.match(texts[at] or '', '^%d+ A(c?) (%d+) [^\n\t]*([^\n]*)(\n.*)$')
  -- An entry that leads nowhere goes with the others.
  if attempt then
    local leased = #answer.ids + 1
    answer.ids[leased], answer.owners[leased] = ids[at], owners[at]
    answer.texts[leased] = fence .. ' L' .. c .. ' ' .. attempt + 1 .. ' ' .. node .. key .. body
    if c ~= '' then
      redis.call('ZADD', ASKED, '0', node .. '\n' .. ids[at])
    end
    written[2 * leased - 1], written[2 * leased] = ids[at], answer.texts[leased]
  end
end
in_chunks('HSET', RUNS, written)
if #answer.ids > 0 then
  grant(node, fence, node .. '\n' .. table.concat(answer.ids, '\n'), #answer.ids)
end
local taken = joined(entries)
entries[plain + 1] = nil
in_chunks('ZREM', AVAILABLE, entries)
if suspect then
  redis.call('ZREM', SUSPECTS, suspect)
end

local upcoming = ''
local function look(order, executor)
  for line, first in lines(order, executor) do
    local rest = string.sub(first, #line.words + WIDTH + 3)
    if not eligible or eligible(rest) then
      local instant = instant_of(first, line)
      upcoming = (upcoming == '' or instant < upcoming) and instant or upcoming
    else
      upcoming = nearest(upcoming, order, line, '', eligible)
    end
  end
end
if #answer.ids == 0 then
  for _, executor in ipairs(asked.executors) do
    look(AVAILABLE, executor)
    if asked.suspects then
      look(SUSPECTS, executor)
    end
  end
end
return { 'leased', upcoming, joined(answer.ids), joined(answer.texts),
  joined(values_of(DEFINITIONS, answer.owners)), taken }
