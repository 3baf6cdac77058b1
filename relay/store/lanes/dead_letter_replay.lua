-- Replays dead letters of one lane, as new deliveries with a full budget of attempts.
-- KEYS: lane, ready set of its partition, arq queue
-- ARGV: lane name, now (ms), wakeup: job id, payload, lifetime (ms); then ids of entries in the lane's dead-letter stream
-- Returns the number of dead letters that existed; or -1, and replays none, if too many replays wait already.
--#include wake
--#include dead_letter
--#include types
local lane, ready, queue = KEYS[1], KEYS[2], KEYS[3]
must_be('stream', lane .. ':dead', lane .. ':replay')
must_be('hash', lane, lane .. ':blocked')
must_be('zset', ready, queue)
if redis.call('XLEN', lane .. ':replay') + #ARGV - 5 > 100000 then -- what waits there has no bounds but this one
    return -1
end
local replayed = 0
for at = 6, #ARGV do
    local letter, chat = take_letter(lane, ARGV[at])
    if letter then
        local entry = redis.call('XADD', lane .. ':replay', '*', unpack(letter))
        if chat then -- it stays blocked until the replay is settled
            redis.call('HSET', lane .. ':blocked', chat, lane .. ':replay|' .. entry)
        end
        replayed = replayed + 1
    end
end
if replayed > 0 then
    redis.call('HINCRBY', lane, 'replayed', replayed)
    redis.call('ZADD', ready, 'NX', ARGV[2], ARGV[1])
    wake_up(queue, ARGV[3], ARGV[4], ARGV[5], 1)
end
return replayed
