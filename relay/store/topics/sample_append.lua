-- Appends a sample, a test event, to the replays of a lane, which delivers it like any other; the ledger counts it with those that
-- came from a topic's history.
-- KEYS: lane, ready set of its partition, arq queue
-- ARGV: lane name, topic, now (ms), wakeup: job id, payload, lifetime (ms); then the fields and values of the event
-- Returns 1; or 0, and appends nothing, if too many replays wait already.
--#include wake
--#include types
local lane, ready, queue = KEYS[1], KEYS[2], KEYS[3]
must_be('stream', lane .. ':replay')
must_be('hash', lane)
must_be('zset', ready, queue)
if redis.call('XLEN', lane .. ':replay') >= 100000 then
    return 0
end
local fields = { unpack(ARGV, 7) }
for _, text in ipairs({ 'dead_topic', ARGV[2], 'dead_test', '1' }) do -- where the lane finds a replay's topic
    fields[#fields + 1] = text
end
redis.call('XADD', lane .. ':replay', '*', unpack(fields))
redis.call('HINCRBY', lane, 'replayed', 1)
redis.call('HINCRBY', lane, 'from_history', 1)
redis.call('ZADD', ready, 'NX', ARGV[3], ARGV[1])
wake_up(queue, ARGV[4], ARGV[5], ARGV[6], 1)
return 1
