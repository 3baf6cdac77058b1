#!lua flags=allow-oom
-- Deletes the oldest quarantined bodies beyond a number.
-- KEYS: quarantine, counts
-- ARGV: most bodies
-- Returns the number of deleted bodies.
--#include types
must_be('hash', KEYS[2])
local dropped = redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', ARGV[1])
if dropped > 0 then
    redis.call('HINCRBY', KEYS[2], 'quarantine_dropped', dropped)
end
return dropped
