-- Advances a replay of a topic's history: appends its next events to the lane and moves its cursor, in one step.
-- KEYS: replay, topic stream, lane, ready set of its partition, arq queue
-- ARGV: expected cursor, new cursor, number of entries in between, topic, lane name, now (ms),
--       wakeup: job id, payload, lifetime (ms); then ids of the entries to append
-- Returns the number of events appended (without trimmed ones), or -1 if the replay has ended or its cursor differs:
-- another worker has advanced it.
--#include wake
--#include types
local replay, stream, lane, ready, queue = unpack(KEYS)
if redis.call('HGET', replay, 'state') ~= 'running' or redis.call('HGET', replay, 'cursor') ~= ARGV[1] then
    return -1
end
must_be('stream', stream, lane .. ':replay')
must_be('hash', replay, lane)
must_be('zset', ready, queue)
local sent = 0
for at = 10, #ARGV do
    local row = redis.call('XRANGE', stream, ARGV[at], ARGV[at])[1]
    if row then
        local fields = row[2]
        fields[#fields + 1] = 'dead_topic' -- where the lane finds a replay's topic
        fields[#fields + 1] = ARGV[4]
        redis.call('XADD', lane .. ':replay', '*', unpack(fields))
        sent = sent + 1
    end
end
redis.call('HSET', replay, 'cursor', ARGV[2])
redis.call('HINCRBY', replay, 'seen', ARGV[3])
redis.call('HINCRBY', replay, 'sent', sent)
if sent > 0 then
    redis.call('HINCRBY', lane, 'replayed', sent)
    redis.call('HINCRBY', lane, 'from_history', sent)
    redis.call('ZADD', ready, 'NX', ARGV[6], ARGV[5])
    wake_up(queue, ARGV[7], ARGV[8], ARGV[9], 1)
end
return sent
