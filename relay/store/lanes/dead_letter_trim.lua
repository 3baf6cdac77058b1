#!lua flags=allow-oom
-- Deletes the oldest dead letters of one lane: those that are too old, and those beyond its size.
-- KEYS: lane, ready set of its partition, arq queue
-- ARGV: lane name, now (ms), wakeup: job id, payload, lifetime (ms); time before which a letter is too old (ms), the most
--       bytes of Redis's memory, the most letters to delete in this step
-- Returns the numbers of letters deleted for their age and for the size, the number of remaining ones and their bytes, and
-- 1 if they have just grown beyond half of the size (else 0).
--#include wake
--#include dead_letter
--#include types
--#include bounds
local lane, ready, queue = KEYS[1], KEYS[2], KEYS[3]
local young, size, step = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local dead = lane .. ':dead'
must_be('stream', dead)
must_be('hash', lane, lane .. ':blocked')
must_be('zset', ready, queue)
local count, each, most = measure(dead, size)
local expired, over, is_free = 0, 0, false
while expired + over < step do
    local letter = redis.call('XRANGE', dead, '-', '+', 'COUNT', 1)[1]
    if not letter then
        break
    end
    if tonumber(string.match(letter[1], '^%d+')) < young then
        expired = expired + 1
    elseif count - expired - over > most then
        over = over + 1
    else
        break
    end
    local _, chat = remove_letter(lane, letter)
    if chat then
        redis.call('HDEL', lane .. ':blocked', chat)
        is_free = true
    end
end
count = count - expired - over
local bytes = math.floor(each * count)
if expired + over > 0 then
    redis.call('HINCRBY', lane, 'discarded', expired + over)
end
if is_free then
    redis.call('ZADD', ready, 'NX', ARGV[2], ARGV[1])
    wake_up(queue, ARGV[3], ARGV[4], ARGV[5], 1)
end
return { expired, over, count, bytes, crosses_half(bytes, size, lane, 'dead_alarm', ARGV[2]) }
