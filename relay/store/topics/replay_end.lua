-- Ends a replay of a topic's history, unless it has ended already; it is kept for a while.
-- KEYS: replay, ids of running replays
-- ARGV: id, state, reason, now (ms), how long it is kept (ms)
-- Returns 1 if it ran until now, else 0.
--#include types
must_be('hash', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then
    return 0
end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'reason', ARGV[3], 'ended', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
