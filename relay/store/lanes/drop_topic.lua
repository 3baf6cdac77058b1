#!lua flags=allow-oom
-- Deletes a topic, with the events that it holds (`topics.held`); what lanes are owed of it is counted as dropped.
-- The mark that the lanes are prepared is deleted too: if the topic returns, the router must create their groups again.
-- KEYS: topic stream, topics, lanes, counts, prepared
-- ARGV: topic, prefix of lanes
-- Returns the number of entries that it had, and for each lane that read it: its name and the number of dropped ones.
--#include types
--#include lane_position
local stream, topics, lanes, counts = unpack(KEYS)
local topic, lane_prefix = ARGV[1], ARGV[2]
local held, places = stream .. ':held', stream .. ':places'
must_be('stream', stream, held)
must_be('set', topics, lanes)
must_be('hash', counts)
local readers = {}
for _, name in ipairs(redis.call('SMEMBERS', lanes)) do
    local lane = lane_prefix .. name
    must_be('hash', lane, lane .. ':tries')
    must_be('zset', lane .. ':retries')
    if redis.call('HEXISTS', lane, 'start:' .. stream) == 1 then
        readers[#readers + 1] = name
    end
end
table.sort(readers)
local entries, info = redis.call('XLEN', stream) + redis.call('XLEN', held), info_of(stream)
local dropped = { entries }
for _, name in ipairs(readers) do
    local lane = lane_prefix .. name
    local is_left = redis.call('HEXISTS', lane, 'left:' .. stream) == 1
    local added = (is_left or not info) and number(lane, 'known:' .. stream) or info['entries-added']
    local owed = owed_of(lane, stream, added)
    redis.call('HINCRBY', lane, 'dropped:' .. stream, owed)
    redis.call('HSET', lane, 'known:' .. stream, added, 'counted:' .. stream, number(counts, 'routed:' .. stream),
        'gone:' .. stream, 1)
    for _, id in ipairs(tried(lane, stream)) do
        redis.call('HDEL', lane .. ':tries', stream .. '|' .. id)
        redis.call('ZREM', lane .. ':retries', stream .. '|' .. id)
    end
    dropped[#dropped + 1] = name
    dropped[#dropped + 1] = owed
end
redis.call('UNLINK', stream, held, places, KEYS[5])
redis.call('SREM', topics, topic)
return dropped
