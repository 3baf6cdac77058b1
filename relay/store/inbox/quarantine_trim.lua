#!lua flags=allow-oom
-- Drops the oldest quarantined bodies, beyond a number of them.
-- KEYS: quarantine, counts
-- ARGV: most bodies
-- Returns how many were dropped.
--#include types
must_be('hash', KEYS[2])
local dropped = redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', ARGV[1])
if dropped > 0 then
    redis.call('HINCRBY', KEYS[2], 'quarantine_dropped', dropped)
end
return dropped
