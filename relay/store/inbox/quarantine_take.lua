#!lua flags=allow-oom
-- Deletes a body that has moved to the quarantine of another shard, which has counted it.
-- KEYS: quarantine, counts
-- ARGV: id of its entry
--#include types
must_be('hash', KEYS[2])
local taken = redis.call('XDEL', KEYS[1], ARGV[1])
if taken > 0 then
    redis.call('HINCRBY', KEYS[2], 'quarantined', -taken)
end
return taken
