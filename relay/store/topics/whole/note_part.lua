-- Notes something of a part in the record of its replay, unless the record is gone.
-- KEYS: replay
-- ARGV: field, value
-- Returns 1 if it was noted, else 0.
--#include types
must_be('hash', KEYS[1])
if redis.call('EXISTS', KEYS[1]) == 0 then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
