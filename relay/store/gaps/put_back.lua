-- Puts missing messages back: appends each to the inbox as an event, unless it was accepted or put back meanwhile.
-- KEYS: inbox, counts, arq queue, backfilled messages, message index of the hour that was read last, and of the next,
--       progress of the walk on this shard
-- ARGV: bytes that were read of the former, most backfilled messages, now (ms), wakeup: job id, payload, lifetime (ms),
--       API and account (`source_name`), life of the progress (ms), number of shards by which the messages were placed; then
--       per message: field (`<event type>:<line>:<message id>`), key in the index, event id, event type, body
-- Returns the numbers of those put back, put back before, and accepted meanwhile; the first is -1 if there is no room. If
-- events are placed by another number here, returns that number, and puts nothing back.
--#include wake
--#include types
--#include placed
local inbox, counts, queue, backfilled, index, next_index, walk = unpack(KEYS)
local other = placed_by_other(counts, ARGV[9])
if other then
    return other
end
must_be('stream', inbox)
must_be('hash', counts, backfilled, walk)
must_be('zset', queue)
must_be('string', index, next_index)
local WIDTH, first, width = 8, 10, 5
local accepted = {}
local function note(keys)
    for at = 1, #keys, WIDTH do
        accepted[string.sub(keys, at, at + WIDTH - 1)] = true
    end
end
note(redis.call('GETRANGE', index, ARGV[1], -1))
if next_index ~= index then
    note(redis.call('GETRANGE', next_index, 0, -1))
end
if redis.call('HLEN', backfilled) + (#ARGV - first + 1) / width > tonumber(ARGV[2]) then
    return { -1, 0, 0 }
end
local put, before, meanwhile = 0, 0, 0
local hour = string.format('%d', math.floor(ARGV[3] / 3600000))
for at = first, #ARGV, width do
    local field, key, id, event_type, body = unpack(ARGV, at, at + width - 1)
    if redis.call('HEXISTS', backfilled, field) == 1 then
        before = before + 1
    elseif accepted[key] then
        meanwhile = meanwhile + 1
    else
        redis.call('XADD', inbox, '*', 'id', id, 'type', event_type, 'dialect', ARGV[7], 'webhook_id', id, 'line', '',
            'at', ARGV[3], 'source', 'backfill', 'body', body)
        redis.call('HSET', backfilled, field, hour .. ':1')
        put = put + 1
    end
end
if put > 0 then
    redis.call('HINCRBY', counts, 'accepted', put)
    redis.call('HINCRBY', counts, 'backfilled', put)
    redis.call('HINCRBY', walk, 'put', put)
    if redis.call('PTTL', walk) == -1 then
        redis.call('PEXPIRE', walk, ARGV[8])
    end
    wake_up(queue, ARGV[4], ARGV[5], ARGV[6], 1)
end
return { put, before, meanwhile }
