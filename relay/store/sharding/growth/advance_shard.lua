-- Advances the number of shards by which events are placed on a shard, and notes where its inbox ended.
-- KEYS: placement, inbox
-- ARGV: number of shards, now (ms)
-- Returns 1 if it has advanced, 0 if it had before.
--#include types
must_be('hash', KEYS[1])
must_be('stream', KEYS[2])
if tonumber(redis.call('HGET', KEYS[1], 'shards') or 0) >= tonumber(ARGV[1]) then
    return 0
end
local last = '0-0'
if redis.call('EXISTS', KEYS[2]) == 1 then
    local about = redis.call('XINFO', 'STREAM', KEYS[2])
    for at = 1, #about, 2 do
        if about[at] == 'last-generated-id' then
            last = about[at + 1]
        end
    end
end
redis.call('DEL', KEYS[1]) -- with the ends of topics of a former growth
redis.call('HSET', KEYS[1], 'shards', ARGV[1], 'inbox', last, 'at', ARGV[2])
return 1
