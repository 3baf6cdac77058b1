#!lua flags=allow-oom
-- Deletes entries of a stream, and counts them.
-- KEYS: stream, hash of the count
-- ARGV: name of the count, ids of entries
-- Returns the number of entries that existed.
--#include types
must_be('hash', KEYS[2])
local dropped = redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
if dropped > 0 then
    redis.call('HINCRBY', KEYS[2], ARGV[1], dropped)
end
return dropped
