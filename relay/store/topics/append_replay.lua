-- Appends one event of a topic to a lane, as a replay of the topic's history.
-- KEYS: topic stream, lane, ready set of its partition, arq queue
-- ARGV: entry, topic, lane name, now (ms), wakeup: job id, payload, lifetime (ms)
-- Returns the id of the replay; empty if the topic does not have the entry any more, or -1 if too many replays wait already.
--#include wake
--#include types
local stream, lane, ready, queue = unpack(KEYS)
must_be('stream', stream, lane .. ':replay')
must_be('hash', lane)
must_be('zset', ready, queue)
if redis.call('XLEN', lane .. ':replay') >= 100000 then -- what waits there has no bounds but this one
    return -1
end
local row = redis.call('XRANGE', stream, ARGV[1], ARGV[1])[1]
if not row then
    return ''
end
local fields = row[2]
fields[#fields + 1] = 'dead_topic' -- where the lane finds a replay's topic
fields[#fields + 1] = ARGV[2]
local id = redis.call('XADD', lane .. ':replay', '*', unpack(fields))
redis.call('HINCRBY', lane, 'replayed', 1)
redis.call('HINCRBY', lane, 'from_history', 1)
redis.call('ZADD', ready, 'NX', ARGV[4], ARGV[3])
wake_up(queue, ARGV[5], ARGV[6], ARGV[7], 1)
return id
