-- Change what is kept, all or nothing, if everything that was looked at before still stands.
-- ARGV: who gets runs by it or '', that node's epoch, and the change: as JSON what is short, and in
-- `lists` how long those that follow are, and what they are called; each is joined.
--   tasks, runs, nodes: [field, how its text begins, ...]; '' for one that must be absent
--   advanced: [task, its text, ...], of tasks that planning has moved on: each was of the revision
--   before
--   changes: how many there were of tasks when those were looked at; if no more since, all stand
--   lengths: [[order, min, max, length], ...]
--   notes: [run, fence, progress, log, ...], lines of texts or ''; dropped where they are too late
--   marks: [run, fence, added text, ...]; lingering, ends: the same
--   over: [task, generation, how many of its runs ended, ...], of tasks that nobody looked at
--   heads: [run, the first line of its text, ...]; new: [run, its text, its task, ...]
--   rewritten: [run, its text but for notes, ...]
--   gates: [[after how many ends, what, key, entry], ...], see gates.lua
--   grant: [node, fence, its text, how many runs]; released: {fence: how many}, of leases
--   set, cut, add, remove: {key's name: [argument, ...]} for HSET, HDEL, ZADD, ZREM
--   counts: {state: difference}; hint: what to publish where, if there are `hints`;
--   asks: who asks what it holds
-- Returns 'done', the epoch of who asks, and the runs that got their key, or 'dead', 'late', 'repeated', or 'lost' with what
-- doesn't stand: tasks, runs, others.
local NAMED = { tasks = TASKS, definitions = DEFINITIONS, ids = IDS, due = DUE, finished = FINISHED,
  labels = LABELS, runs = RUNS, newest = NEWEST, history = HISTORY, available = AVAILABLE,
  suspects = SUSPECTS, queues = QUEUES, leases = LEASES, nodes = NODES,
  epochs = EPOCHS, asked = ASKED, expiring = EXPIRING }

if is_repeated() then
  return { 'repeated' }
end
local refused = ARGV[1] ~= '' and refusal(ARGV[1], ARGV[2])
if refused then
  return refused
end
local change = cjson.decode(ARGV[3])
for at, about in ipairs(change.lists or {}) do
  local length, name, key = unpack(about)
  local list = parted(ARGV[3 + at], length)
  if key then
    change[name] = change[name] or {}
    change[name][key] = list
  else
    change[name] = list
  end
end

-- Every n-th of a flat list.
local function column(list, width, place)
  local found = {}
  for at = place, #list, width do
    found[#found + 1] = list[at]
  end
  return found
end

local function standing(key, expected, lost)
  if not expected then
    return
  end
  local texts = values_of(key, column(expected, 2, 1))
  for at = 1, #texts do
    local start = expected[2 * at]
    if start == '' then
      if texts[at] then
        lost[#lost + 1] = expected[2 * at - 1]
      end
    elseif not texts[at] or sub(texts[at], 1, #start) ~= start then
      lost[#lost + 1] = expected[2 * at - 1]
    end
  end
end

local heads_before = {} -- of the texts that planning has made; most of a step are alike

-- How the texts of tasks began before planning moved these on, as `standing` takes it.
local function as_they_were(advanced)
  local expected = {}
  for at = 1, #advanced, 2 do
    local new = advanced[at + 1]
    local head = sub(new, 1, find(new, '\n', 1, true))
    if not heads_before[head] then
      local generation, revision = match(head, '^(%S+) (%d+) ')
      heads_before[head] = generation .. ' ' .. revision - 1 .. ' '
    end
    expected[at], expected[at + 1] = advanced[at], heads_before[head]
  end
  return expected
end

local lost_tasks, lost_runs, others = {}, {}, {}
local advanced = change.advanced or {}
standing(TASKS, change.tasks, lost_tasks)
if #advanced > 0 and redis.call('GET', CHANGES) ~= change.changes then
  standing(TASKS, as_they_were(advanced), lost_tasks)
end
standing(RUNS, change.runs, lost_runs)
standing(NODES, change.nodes, others)
for _, each in ipairs(change.lengths or {}) do
  if redis.call('ZLEXCOUNT', NAMED[each[1]], each[2], each[3]) ~= each[4] then
    others[#others + 1] = each[1]
  end
end

local current = {} -- texts of runs as far as this has changed them
local written = {} -- HSET's arguments
local released = change.released or {}
local asked = {} -- entries of runs whose end was asked for, and that have ended
local left = {} -- keys that were held, by the places of ends

local function write(id, text)
  current[id] = text
  written[#written + 1] = id
  written[#written + 1] = text
end

local HEAD = '^(%d+) ([LMO])(c?) (%d+) ([^\n\t]*)([^\n]*)$'
local parts_of = {} -- heads; most of a step are alike

-- Of a leased run: fence, flag, 'c' or '', attempt, node, key behind a tab or '', what has happened,
-- notes. (A pattern looks at each letter by itself: at the head only, since the rest is long.)
local function leased(text)
  local stop = find(text or '', '\n', 1, true)
  local head = sub(text or '', 1, (stop or 1) - 1)
  local parts = parts_of[head]
  if not parts then
    parts = { match(head, HEAD) }
    parts_of[head] = parts
  end
  if not parts[1] then
    return nil
  end
  local said = find(text, '\n', stop + 1, true)
  return parts[1], parts[2], parts[3], parts[4], parts[5], parts[6],
    sub(text, stop, (said or 0) - 1), said and sub(text, said) or ''
end

local notes = change.notes or {}
local found = values_of(RUNS, column(notes, 4, 1))
for at = 1, #found do
  local id = notes[4 * at - 3]
  local fence, rest, progress, log =
    match(current[id] or found[at] or '', '^(%d+)( [^\n]*\n[^\n]*)\n?([^\n]*)\n?([^\n]*)$')
  if fence == notes[4 * at - 2] then
    local said, logged = notes[4 * at - 1], notes[4 * at]
    said, logged = said == '' and progress or said, logged == '' and log or logged
    write(id, fence .. rest .. '\n' .. said .. '\n' .. logged)
  end
end

local marks = change.marks or {}
found = values_of(RUNS, column(marks, 3, 1))
for at = 1, #found do
  local id = marks[3 * at - 2]
  local fence, flag, c, attempt, node, key, body, said =
    leased(current[id] or found[at])
  if fence ~= marks[3 * at - 1] then
    lost_runs[#lost_runs + 1] = id
  elseif flag == 'L' then
    write(id, fence .. ' M' .. c .. ' ' .. attempt .. ' ' .. node .. key .. body
      .. marks[3 * at] .. said)
  end
end

local lingering = change.lingering or {}
found = values_of(RUNS, column(lingering, 3, 1))
for at = 1, #found do
  local id = lingering[3 * at - 2]
  local fence, flag, c, attempt, node, key, body, said =
    leased(current[id] or found[at])
  if fence == lingering[3 * at - 1] and flag ~= 'O' then
    write(id, fence .. ' O ' .. attempt .. ' ' .. node .. key .. body .. lingering[3 * at] .. said)
    asked[#asked + 1] = c ~= '' and node .. '\n' .. id or nil
  else
    lost_runs[#lost_runs + 1] = id
  end
end

local ends = change.ends or {}
found = values_of(RUNS, column(ends, 3, 1))
for at = 1, #found do
  local id = ends[3 * at - 2]
  local fence, _, c, attempt, node, key, body, said =
    leased(current[id] or found[at])
  if fence == ends[3 * at - 1] then
    released[fence] = (released[fence] or 0) + 1
    written[#written + 1] = id
    written[#written + 1] = fence .. ' E ' .. attempt .. ' ' .. body .. ends[3 * at] .. said
    asked[#asked + 1] = c ~= '' and node .. '\n' .. id or nil
    left[at] = key ~= '' and sub(key, 2) or nil
  else
    lost_runs[#lost_runs + 1] = id
  end
end

local heads = change.heads or {}
found = values_of(RUNS, column(heads, 2, 1))
for at = 1, #found do
  if found[at] then
    local stop = find(found[at], '\n', 1, true)
    written[#written + 1] = heads[2 * at - 1]
    written[#written + 1] = heads[2 * at] .. sub(found[at], stop)
  else
    lost_runs[#lost_runs + 1] = heads[2 * at - 1]
  end
end

local rewritten = change.rewritten or {}
found = values_of(RUNS, column(rewritten, 2, 1))
for at = 1, #found do
  local text = current[rewritten[2 * at - 1]] or found[at] or ''
  local said = match(text, '^[^\n]*\n[^\n]*(\n.*)$')
  rewritten[2 * at] = rewritten[2 * at] .. (said or '')
end

-- The generation of a task, how many of its runs are queued, and how its text begins when some of
-- them have ended.
local after = {} -- the same for heads, by how many have ended; most of a step are alike
local function when_ended(head, count)
  local heads = after[count] or {}
  after[count] = heads
  local known = heads[head]
  if not known then
    local generation, revision, active, queued = match(head, '^(%S+) (%d+) (-?%d+) (%d+)$')
    known = generation and { generation, queued,
      generation .. ' ' .. revision + 1 .. ' ' .. active - count .. ' ' .. queued } or {}
    heads[head] = known
  end
  return known[1], known[2], known[3]
end

-- Tasks nobody looked at: one that has runs waiting for others to end has to be looked at.
local over = change.over or {}
local counted = {}
found = values_of(TASKS, column(over, 3, 1))
for at = 1, #found do
  local text = found[at] or ''
  local stop = find(text, '\n', 1, true) or 1
  local generation, queued, head = when_ended(sub(text, 1, stop - 1), over[3 * at])
  if generation == over[3 * at - 1] then
    if queued ~= '0' then
      lost_tasks[#lost_tasks + 1] = over[3 * at - 2]
    end
    counted[#counted + 1] = over[3 * at - 2]
    counted[#counted + 1] = head .. sub(text, stop)
  end
end

if #lost_tasks + #lost_runs + #others > 0 then
  return { 'lost', joined(lost_tasks), joined(lost_runs), joined(others) }
end

local new, newest, histories = change.new or {}, {}, {}
for at = 1, #new, 3 do
  written[#written + 1], written[#written + 2] = new[at], new[at + 1]
  newest[#newest + 1] = new[at]
  histories[#histories + 1] = new[at + 2] .. '\n' .. new[at]
end

in_chunks('HSET', RUNS, written)
add_entries(NEWEST, newest)
add_entries(HISTORY, histories)
if change.tasks or #advanced > 0 or #counted > 0 then
  redis.call('INCR', CHANGES)
end
for fence, count in pairs(released) do
  if redis.call('HINCRBY', HOLDS, fence, -count) <= 0 then
    local node = match(redis.call('HGET', GRANTS, fence) or '', '^[^\n]*')
    redis.call('HDEL', HOLDS, fence)
    redis.call('HDEL', GRANTS, fence)
    redis.call('ZREM', LEASES, node .. '\n' .. fence)
  end
end
if change.grant then
  grant(unpack(change.grant))
end
if change.gates or next(left) then
  pass_gates(change.gates or {}, left, #ends / 3)
end
in_chunks('HSET', RUNS, rewritten)
in_chunks('ZREM', ASKED, asked)
in_chunks('HSET', TASKS, counted)
in_chunks('HSET', TASKS, advanced)
for name, fields in pairs(change.cut or {}) do
  in_chunks('HDEL', NAMED[name], fields)
end
for name, entries in pairs(change.remove or {}) do
  in_chunks('ZREM', NAMED[name], entries)
end
for name, pairs_of in pairs(change.set or {}) do
  in_chunks('HSET', NAMED[name], pairs_of)
end
for name, entries in pairs(change.add or {}) do
  add_entries(NAMED[name], entries)
end
for state, difference in pairs(change.counts or {}) do
  redis.call('HINCRBY', COUNTS, state, difference)
end
if change.hints or #entered > 0 then
  redis.pcall('PUBLISH', change.hint[1], change.hint[2]) -- who may not isn't heard, no more
end
local epoch = change.asks and tostring(redis.call('HINCRBY', EPOCHS, change.asks, 1)) or '0'
return { 'done', epoch, joined(entered) }
