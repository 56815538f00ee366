-- Locks by the rules of model/locks.py. A lock's text: when it was acquired, until when it is held,
-- from which label on others may have it, when that is forgotten, its fence; owner; about.
-- Instants and spans are written with 19 digits, so that they are compared as texts, and added in
-- two parts: both are exact, which numbers of that size aren't in Lua.

local NONE = '2000000000000000000' -- the instant 0
local WHOLE = 13 -- digits before those of the microseconds
local FORM = '^(%d+) (%d+) (%d+) (%d+) (%d+)\n([^\n]*)\n([^\n]*)'

local function instant(seconds, micros)
  return string.format('%013.0f%06.0f', seconds, micros)
end

-- The instant that was given, or where it is '' the server's own.
local function present(given)
  if given ~= '' then
    return given
  end
  local time = redis.call('TIME')
  return instant(string.sub(NONE, 1, WHOLE) + time[1], time[2])
end

-- The instant that lies so much later.
local function later(from, span)
  local seconds = string.sub(from, 1, WHOLE) + string.sub(span, 1, WHOLE)
  local micros = string.sub(from, WHOLE + 1) + string.sub(span, WHOLE + 1)
  return instant(seconds + math.floor(micros / 1000000), micros % 1000000)
end

-- A lock, nil where there is none or it can't be understood; and its text.
local function lock_of(name)
  local text = redis.call('HGET', LOCKS, name)
  if not text then
    return nil, nil
  end
  local lock = {}
  lock.acquired, lock.expires, lock.kept, lock.forgotten, lock.fence, lock.owner, lock.about =
    string.match(text, FORM)
  return lock.owner and lock, text
end

local function is_held_by(lock, owner, now)
  return lock and lock.owner == owner and lock.expires > now
end

-- Where a lock stands among all: by the instant from which on it says nothing any more.
local function lapse_of(name, lock)
  local last = lock.expires > lock.forgotten and lock.expires or lock.forgotten
  return last .. '\n' .. name
end

local function text_of(lock)
  return string.format('%s %s %s %s %s\n%s\n%s', lock.acquired, lock.expires, lock.kept,
    lock.forgotten, lock.fence, lock.owner, lock.about)
end

-- The text of a lock as it is told to whom it isn't given: nobody's, if its lease is over.
local function refused(lock, now)
  if lock.expires <= now then
    lock.owner = ''
  end
  return text_of(lock)
end

-- Write a lock that stood there, if it did, at `lapse` before; return its text.
local function write_lock(name, lock, lapse)
  local text = text_of(lock)
  if lapse then
    -- First: a server whose memory is full refuses scripts that begin by adding, and no lock is to
    -- be lost for that.
    redis.call('ZREM', LAPSING, lapse)
  end
  redis.call('HSET', LOCKS, name, text)
  redis.call('ZADD', LAPSING, '0', lapse_of(name, lock))
  return text
end
