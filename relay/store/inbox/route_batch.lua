-- Moves a batch of inbox entries into their topics, in one step: deleted, appended, counted, lanes woken.
-- KEYS: inbox, counts, unmatched, quarantine, topics, arq queue, lease, prepared, message index, backfilled messages
-- ARGV: lease token, preparation, now (ms), wakeup lifetime (ms), lifetime of the index (ms), consumer of the lanes,
--       number of offers, n times an offer (`hand_over`): lane, lease of its partition, its token, group, count of entries;
--       then keys for the index, number of topics;
--       then per topic: name, stream, n, n times a lane: name, ready set, job and payload of its partition's wakeup.
--       Then per event: entry id, n, n topic streams, m, m fields and values.
--       n is 0 for an event that matches no topic, whose only field is its type; n is -1 for a quarantined event.
-- A topic whose stream is of a wrong type must not stop the others: its events are held, in `<stream>:held`, until they
-- are released into the repaired stream (`topics.held`). A set of ready lanes of a wrong type is left to the sweeper.
-- A lane whose worker has offered to take its events, and still holds the lease of its partition, is not woken: its new
-- entries are read here.
-- Returns the numbers of routed, unmatched and quarantined events, the topics that hold events, and what was read for lanes:
-- name, entries, name, entries, ...; or, if no event moved, -1 if another worker holds the lease and -2 if this Redis has
-- lost the preparation, and with it perhaps lanes' groups.
--#include wake
-- While the relay has backfilled messages, an event of a message goes only to topics that do not have it (`store.gaps`).
--#include types
--#include backfilled
local inbox, counts, unmatched, quarantine, topics, queue, lease, prepared, index, backfilled = unpack(KEYS)
local token, preparation, now, lifetime = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local holder = redis.call('GET', lease)
if holder and holder ~= token then
    return -1
end
if redis.call('GET', prepared) ~= preparation then
    return -2
end
must_be('stream', inbox, quarantine)
must_be('hash', counts, unmatched)
must_be('set', topics)
must_be('zset', queue)
local held, unusable, offers = {}, {}, {}
local messages = 8 + 5 * tonumber(ARGV[7])
for at = 8, messages - 1, 5 do
    offers[ARGV[at]] = at
end
local first_topic, topics_given = messages + 2, tonumber(ARGV[messages + 1])
local has_backfill = redis.call('TYPE', backfilled).ok == 'hash'
local at = first_topic
for _ = 1, topics_given do
    local stream = ARGV[at + 1]
    if not is_free_or('stream', stream) or redis.call('EXISTS', stream .. ':held') == 1 then
        must_be('stream', stream .. ':held')
        held[stream] = stream .. ':held'
    end
    local lanes = at + 3
    at = lanes + 4 * tonumber(ARGV[at + 2])
    for lane = lanes, at - 1, 4 do
        if not is_free_or('zset', ARGV[lane + 1]) then
            unusable[ARGV[lane + 1]] = true
        end
    end
end
local routed, nowhere, odd, repeated = 0, 0, 0, 0
local fed, woken, holding, given = {}, {}, {}, {}

-- Reads the new entries of a lane for the worker that has offered to take them; returns false if the lane must be woken.
local function hand_over(lane, stream)
    local lease, holder, group, count = unpack(ARGV, offers[lane] + 1, offers[lane] + 4)
    if redis.pcall('GET', lease) ~= holder then
        return false
    end
    local read = redis.pcall('XREADGROUP', 'GROUP', group, ARGV[6], 'COUNT', count, 'STREAMS', stream, '>')
    if not read or read.err then
        return false
    end
    given[#given + 1] = lane
    given[#given + 1] = read[1][2]
    return true
end

while at <= #ARGV do
    local entry, n = ARGV[at], tonumber(ARGV[at + 1])
    local first = at + 2
    local length = first + math.max(n, 0)
    local fields = length + 1
    at = fields + tonumber(ARGV[length])
    -- A missing entry was moved by an earlier commit, or deleted by hand. Since the first write is this deletion, Redis
    -- permits the others also at `maxmemory`.
    if redis.call('XDEL', inbox, entry) == 1 then
        if n > 0 then
            local had = has_backfill and topics_with(backfilled, first, length - 1, fields, at - 1)
            for position = first, length - 1 do
                local stream = ARGV[position]
                if had and had[stream] then
                    repeated = repeated + 1
                else
                    redis.call('XADD', held[stream] or stream, '*', unpack(ARGV, fields, at - 1))
                    fed[stream] = (fed[stream] or 0) + 1
                end
            end
            routed = routed + 1
        elseif n == 0 then
            redis.call('HINCRBY', unmatched, ARGV[fields], 1)
            nowhere = nowhere + 1
        else
            redis.call('XADD', quarantine, '*', unpack(ARGV, fields, at - 1))
            odd = odd + 1
        end
    end
end
at = first_topic
for _ = 1, topics_given do
    local topic, stream, lanes = ARGV[at], ARGV[at + 1], at + 3
    at = lanes + 4 * tonumber(ARGV[at + 2])
    if fed[stream] then
        redis.call('SADD', topics, topic)
    end
    if fed[stream] and held[stream] then
        holding[#holding + 1] = topic
    elseif fed[stream] then
        redis.call('HINCRBY', counts, 'routed:' .. stream, fed[stream]) -- outlives the stream
        for lane = lanes, at - 1, 4 do
            local name, job = ARGV[lane], ARGV[lane + 2]
            if not (offers[name] and hand_over(name, stream)) then
                if not unusable[ARGV[lane + 1]] then
                    redis.call('ZADD', ARGV[lane + 1], 'NX', now, name)
                end
                if not woken[job] then
                    wake_up(queue, job, ARGV[lane + 3], lifetime, 1)
                    woken[job] = true
                end
            end
        end
    end
end
local indexed = ARGV[messages]
if #indexed > 0 and is_free_or('string', index) and redis.call('APPEND', index, indexed) == #indexed then
    redis.call('PEXPIRE', index, ARGV[5])
end
for name, count in pairs({ routed = routed, unmatched = nowhere, quarantined = odd, poisoned = odd,
    backfill_repeats = repeated }) do
    if count > 0 then
        redis.call('HINCRBY', counts, name, count)
    end
end
return { routed, nowhere, odd, holding, given }
