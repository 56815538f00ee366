-- Find the tasks that are due longest. ARGV: node, limit, the instant after now, and as JSON
-- {executors, functions, tasks}: the first are eligible, except the others.
-- Returns 'dead', or 'due', when the next one is due ('' for never or unknown), a fence, how many
-- changes of tasks there were, the entries and texts of those that are due, at which places their
-- definitions stand, and the texts of these.
local node, limit, till = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if not is_alive(node) then
  return { 'dead' }
end
local asked = cjson.decode(ARGV[4])
local functions, tasks = set_of(asked.functions), set_of(asked.tasks)

local wanted = nil
if next(functions) or next(tasks) then
  wanted = function(rest)
    local task, name = string.match(rest, '^([^\n]*)\n(.*)$')
    return not (functions[name] or tasks[task])
  end
end

local found, count = {}, 0
for _, executor in ipairs(asked.executors) do
  local entries = search(DUE, line_of(executor), '', till, limit, wanted)
  if #entries > 0 then
    count = count + #entries
    found[#found + 1] = { line = line_of(executor), entries = entries }
  end
end

local upcoming = ''
if count < limit then
  for _, executor in ipairs(asked.executors) do
    upcoming = nearest(upcoming, DUE, line_of(executor), till, wanted)
  end
end
if count == 0 then
  return { 'due', upcoming, '0', '', '', '', '', '' }
end
local entries, ids = merged(found), {}
for at = 1, #entries do
  if at > limit then
    entries[at] = nil
  else
    local entry = entries[at]
    local first = find(entry, '\n', 1, true) + WIDTH + 2
    ids[at] = sub(entry, first, find(entry, '\n', first, true) - 1)
  end
end

-- Many have the same definition.
local places, texts, definitions = {}, {}, values_of(DEFINITIONS, ids)
for at = 1, #definitions do
  local text = definitions[at] or ''
  if not places[text] then
    texts[#texts + 1] = text
    places[text] = tostring(#texts)
  end
  definitions[at] = places[text]
end
return { 'due', upcoming, next_fence(#entries), redis.call('GET', CHANGES) or '', joined(entries),
  joined(values_of(TASKS, ids)), joined(definitions), joined(texts) }
