#!lua flags=allow-oom
-- Deletes dead letters of one lane.
-- KEYS: lane, ready set of its partition, arq queue
-- ARGV: lane name, now (ms), wakeup: job id, payload, lifetime (ms); then ids of entries in the lane's dead-letter stream
-- Returns the number of dead letters that existed.
--#include wake
--#include dead_letter
--#include types
local lane, ready, queue = KEYS[1], KEYS[2], KEYS[3]
must_be('stream', lane .. ':dead')
must_be('hash', lane, lane .. ':blocked')
must_be('zset', ready, queue)
local dropped = 0
for at = 6, #ARGV do
    local letter, chat = take_letter(lane, ARGV[at])
    if letter then
        dropped = dropped + 1
    end
    if chat then
        redis.call('HDEL', lane .. ':blocked', chat)
    end
end
if dropped > 0 then
    redis.call('HINCRBY', lane, 'dropped', dropped)
    redis.call('ZADD', ready, 'NX', ARGV[2], ARGV[1]) -- a blocked chat may be free now
    wake_up(queue, ARGV[3], ARGV[4], ARGV[5], 1)
end
return dropped
