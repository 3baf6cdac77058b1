-- Stores marks of backfilled messages that come from another shard; what came of a message wins over that it was put back.
-- KEYS: backfilled messages
-- ARGV: field and value of each
-- Returns the number of those that were stored.
--#include types
must_be('hash', KEYS[1])
local stored = 0
for at = 1, #ARGV, 2 do
    local known = redis.call('HGET', KEYS[1], ARGV[at])
    if not known or (string.match(known, '^%d+:1$') and known ~= ARGV[at + 1]) then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
        stored = stored + 1
    end
end
return stored
