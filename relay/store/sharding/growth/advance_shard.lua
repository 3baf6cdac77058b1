-- Advances the number of shards by which events are placed on a shard, and notes where its inbox ended.
-- KEYS: counts, fence, inbox
-- ARGV: number of shards, now (ms)
-- Returns 1 if it has advanced, 0 if it had before.
--#include types
local counts, fence, inbox = KEYS[1], KEYS[2], KEYS[3]
must_be('hash', counts, fence)
must_be('stream', inbox)
if tonumber(redis.call('HGET', counts, 'placed_by') or 0) >= tonumber(ARGV[1]) then
    return 0
end
local last = '0-0'
if redis.call('EXISTS', inbox) == 1 then
    local about = redis.call('XINFO', 'STREAM', inbox)
    for at = 1, #about, 2 do
        if about[at] == 'last-generated-id' then
            last = about[at + 1]
        end
    end
end
redis.call('DEL', fence) -- with the ends of topics of a former growth
redis.call('HSET', fence, 'inbox', last, 'at', ARGV[2])
redis.call('HSET', counts, 'placed_by', ARGV[1])
return 1
