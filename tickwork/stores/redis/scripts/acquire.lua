-- Give a lock to who asks for it, if he may have it. ARGV: name, owner, about, now ('' for the
-- server's own time), for how long; and a label that he asks for, the one until which it is kept
-- then, and how long that is known; or '' for each.
-- Returns the lock's text as it is then, or 'repeated'.
local name, owner, label = ARGV[1], ARGV[2], ARGV[6]
local now = present(ARGV[4])
local lock, text = lock_of(name)
if is_repeated() then
  return { lock and refused(lock, now) or text or 'repeated' } -- what came of it, if anything
end
if text and not lock then
  return { text }
end

local lapse = lock and lapse_of(name, lock)
if is_held_by(lock, owner, now) then
  lock.expires = later(now, ARGV[5])
  return { write_lock(name, lock, lapse) }
end
if lock and lock.expires > now then
  return { text }
end
if lock and label ~= '' and lock.kept > label and lock.forgotten > now then
  return { refused(lock, now) }
end
return { write_lock(name, {
  acquired = now,
  expires = later(now, ARGV[5]),
  kept = label ~= '' and ARGV[7] or lock and lock.kept or NONE,
  forgotten = label ~= '' and later(now, ARGV[8]) or lock and lock.forgotten or NONE,
  fence = next_fence(1),
  owner = owner,
  about = ARGV[3],
}, lapse) }
