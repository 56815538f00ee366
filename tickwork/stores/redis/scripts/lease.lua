-- Give available runs to a node, the longest available first. ARGV: node, its epoch, the instant
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
local suspects = {}
if asked.suspects then
  for _, executor in ipairs(asked.executors) do
    local entries = (room[executor] or 0) > 0 and search(SUSPECTS, executor, '', till, 1, wanted)
    if entries and #entries > 0 then
      suspects[#suspects + 1] = { executor = executor, entries = entries }
    end
  end
end
local suspect = #suspects > 0 and merged(suspects)[1]
if suspect then
  local executor = string.match(suspect, '^[^\n]*')
  room[executor] = room[executor] - 1
end

local entries = {}
for _, executor in ipairs(asked.executors) do
  if (room[executor] or 0) > 0 then
    for _, entry in ipairs(search(AVAILABLE, executor, '', till, room[executor], wanted)) do
      entries[#entries + 1] = entry
    end
  end
end
local plain = #entries
entries[plain + 1] = suspect or nil

local ids, owners = {}, {}
for at = 1, #entries do
  ids[at], owners[at] = string.match(entries[at], '\n%d+\n([^\n]*)\n([^\n]*)\n')
end
local fence = #ids > 0 and next_fence() or '0'
local texts, written = values_of(RUNS, ids), {}
local answer = { ids = {}, texts = {}, owners = {} }
for at = 1, #ids do
  local attempt, body = string.match(texts[at] or '', '^%d+ A (%d+) [^\n]*(\n.*)$')
  -- An entry that leads nowhere goes with the others.
  if attempt then
    local leased = #answer.ids + 1
    answer.ids[leased], answer.owners[leased] = ids[at], owners[at]
    answer.texts[leased] = fence .. ' L ' .. attempt + 1 .. ' ' .. node .. body
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
if #answer.ids == 0 then
  for _, executor in ipairs(asked.executors) do
    upcoming = nearest(upcoming, AVAILABLE, executor, '', eligible)
    if asked.suspects then
      upcoming = nearest(upcoming, SUSPECTS, executor, '', eligible)
    end
  end
end
return { 'leased', upcoming, joined(answer.ids), joined(answer.texts),
  joined(values_of(DEFINITIONS, answer.owners)), taken }
