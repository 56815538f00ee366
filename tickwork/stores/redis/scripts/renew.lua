-- Renew a lock, or give it back. ARGV: name, owner, now ('' for the server's own time), for how long
-- ('' to give it back), and until which label it is kept ('' for as it is).
-- Returns whether it was his.
local name, lease, kept = ARGV[1], ARGV[4], ARGV[5]
local now = present(ARGV[3])
local lock = lock_of(name)
if not is_held_by(lock, ARGV[2], now) then
  return { 0 }
end
local lapse = lapse_of(name, lock)
if lease ~= '' then
  lock.expires = later(now, lease)
else
  lock.owner, lock.expires = '', NONE
end
if kept ~= '' then
  lock.kept = kept
  lock.forgotten = kept == NONE and NONE or lock.forgotten
end
if lease == '' and lock.kept == NONE and lock.forgotten == NONE then
  -- It says what one that isn't there says: no need to keep it until somebody prunes.
  redis.call('HDEL', LOCKS, name)
  redis.call('ZREM', LAPSING, lapse)
else
  write_lock(name, lock, lapse)
end
return { 1 }
