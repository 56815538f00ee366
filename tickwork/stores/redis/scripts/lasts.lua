-- Find how tasks did last. ARGV: JSON lists of the states that tell, and of the tasks, each with its
-- generation. Returns the state of the newest run of each that is in one of them, '' for none.
local LOOKED_AT = 20
local tells = set_of(cjson.decode(ARGV[1]))

-- The state in which a run of a task has ended, if it tells; what it says itself is quoted.
local function state_of(text, beginning)
  local head, body = string.match(text or '', '^([^\n]*)\n([^\n]*)')
  if not head or string.sub(body, 1, #beginning) ~= beginning then
    return nil
  end
  local last
  for state in string.gmatch(body, '"state":"(%a+)"') do
    last = state
  end
  return string.match(head, '^%d+ [EO]') and tells[last] and last or nil
end

local function last_of(task, generation)
  local beginning = '["' .. task .. '",' .. generation .. ','
  local till = '(' .. task .. '\v'
  while true do
    local entries = redis.call('ZREVRANGEBYLEX', HISTORY, till, '[' .. task .. '\n', 'LIMIT', '0',
      LOOKED_AT)
    for at = 1, #entries do
      local run = string.match(entries[at], '([^\n]*)$')
      local state = state_of(redis.call('HGET', RUNS, run), beginning)
      if state then
        return state
      end
    end
    if #entries < LOOKED_AT then
      return ''
    end
    till = '(' .. entries[LOOKED_AT]
  end
end

local states = {}
for at, task in ipairs(cjson.decode(ARGV[2])) do
  states[at] = last_of(task[1], task[2])
end
return { joined(states) }
