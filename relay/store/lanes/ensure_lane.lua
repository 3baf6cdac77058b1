#!lua flags=allow-oom
-- Creates a lane's groups if they do not exist, and records its position in the topic stream.
-- KEYS: lane, retries, topic stream, replay stream, lanes, counts, topics
-- ARGV: group, lane name, consumer, prefix of topics' streams
-- A lane that is new in the stream starts with the events routed from now on. A lost group returns to its checkpoint, or
-- to the beginning if the stream was lost as well.
-- A topic that the lane read before and no longer reads is left: the lane still owes its entries up to now.
-- For a lost group, the entries that are redelivered or lost are counted here, in the same step. A lane whose hash was
-- lost counts from now on, with the entries that its groups still have.
-- Returns {streams it has left, each followed by the last id that it owes}, and, if something was lost, what and
-- of which key, the number of entries that the lane gets again, and by how many that exceeds (or, if negative, falls below) the ledger.
--#include types
--#include lane_position
local lane, retries, stream, replay, lanes, counts, topics = unpack(KEYS)
local group, name, consumer, topic_prefix = unpack(ARGV)

local function make_group(of, after)
    local made = redis.pcall('XGROUP', 'CREATE', of, group, after, 'MKSTREAM')
    if type(made) == 'table' and made.err then
        if string.find(made.err, 'BUSYGROUP', 1, true) then
            return false
        end
        error(made.err)
    end
    return true
end

-- Returns the streams that the lane ever read.
local function streams_of_lane()
    local found = {}
    for _, field in ipairs(redis.call('HKEYS', lane)) do
        found[#found + 1] = string.match(field, '^start:(.*)$')
    end
    return found
end

local function left_streams()
    local left = {}
    for _, other in ipairs(streams_of_lane()) do
        if other ~= stream then
            local last = redis.call('HGET', lane, 'left:' .. other)
            if not last then
                local info = info_of(other) or { ['last-generated-id'] = '0-0', ['entries-added'] = 0 }
                last = info['last-generated-id']
                redis.call('HSET', lane, 'left:' .. other, last)
                if info['entries-added'] > number(lane, 'known:' .. other) then
                    redis.call('HSET', lane, 'known:' .. other, info['entries-added'])
                end
            end
            left[#left + 1] = other
            left[#left + 1] = last
        end
    end
    redis.call('HDEL', lane, 'left:' .. stream)
    return left
end

-- Counts what a lane without a hash still has in a stream as routed; of one that it has left, only what it has read.
local function count_anew(of)
    local row, info = group_in(of, group), info_of(of)
    if not row then
        return 0
    end
    local read_up_to, added = row['last-delivered-id'], info['entries-added']
    local owed = row['pending'] + (of == stream and count_after(of, read_up_to) or 0)
    local checkpoint = row['pending'] > 0 and id_before(redis.call('XPENDING', of, group)[2]) or read_up_to
    redis.call('HSET', lane, 'start:' .. of, added - owed, 'known:' .. of, added, 'checkpoint:' .. of, checkpoint)
    if of ~= stream then
        redis.call('HSET', lane, 'left:' .. of, read_up_to)
    end
    return owed
end

-- Fills the set of lanes, which was lost: the lane of each group of a topic that has counters.
local function find_lanes()
    local lane_prefix, group_prefix = string.sub(lane, 1, -#name - 1), string.sub(group, 1, -#name - 1)
    for _, topic in ipairs(redis.call('SMEMBERS', topics)) do
        local rows = redis.pcall('XINFO', 'GROUPS', topic_prefix .. topic)
        for _, row in ipairs(rows.err and {} or rows) do
            local other = row[2]
            local owner = string.sub(other, #group_prefix + 1)
            if string.sub(other, 1, #group_prefix) == group_prefix and redis.call('EXISTS', lane_prefix .. owner) == 1 then
                redis.call('SADD', lanes, owner)
            end
        end
    end
end

local function count_everything_anew()
    local has = redis.call('XLEN', lane .. ':dead') + redis.call('XLEN', replay)
    if has == 0 and not group_in(stream, group) then
        return nil -- the lane is new
    end
    redis.call('DEL', lane) -- what was counted since the loss would not balance
    local others = redis.call('SMEMBERS', topics)
    table.sort(others)
    local again = 0
    for _, topic in ipairs(others) do
        local of = topic_prefix .. topic
        if of ~= stream and redis.call('TYPE', of).ok == 'stream' then
            again = again + count_anew(of)
        end
    end
    again = again + count_anew(stream)
    local dead, replayed = redis.call('XLEN', lane .. ':dead'), redis.call('XLEN', replay)
    -- The dead letters came from somewhere: the ledger shows them as if they had been replayed from history.
    redis.call('HSET', lane, 'replayed', replayed + dead, 'from_history', replayed + dead, 'died', dead)
    return again + replayed
end

-- All keys of the lane: a worker that could not settle a delivery must not send it.
must_be('stream', stream, replay, lane .. ':dead', lane .. ':attempts', lane .. ':answers')
must_be('hash', lane, counts, lane .. ':tries', lane .. ':blocked')
must_be('zset', retries)
must_be('set', lanes, topics)
local is_known = #streams_of_lane() > 0
local anew = not is_known and count_everything_anew() or nil
if make_group(replay, '0') then
    resume(lane, replay, group, consumer, '0-0')
end
if redis.call('SADD', lanes, name) == 1 and is_known then
    find_lanes()
end
local left = left_streams()
local checkpoint = redis.call('HGET', lane, 'checkpoint:' .. stream)
local is_new = make_group(stream, checkpoint or '$')
if not is_new then
    return anew and { left, 'counters', lane, anew, 0 } or { left }
end
local info = info_of(stream)
local last, added, known = info['last-generated-id'], info['entries-added'], number(lane, 'known:' .. stream)
local routed = number(counts, 'routed:' .. stream)
if not checkpoint then
    redis.call('HSET', lane, 'checkpoint:' .. stream, last, 'start:' .. stream, added, 'known:' .. stream, added,
        'last:' .. stream, last, 'counted:' .. stream, routed)
    return anew and { left, 'counters', lane, anew, 0 } or { left }
end
-- A stream that never lost an entry, and whose first one is younger than the last one of the stream that the lane knows.
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local is_younger = info['length'] == added and first
    and is_after(first[1], redis.call('HGET', lane, 'last:' .. stream) or first[1])
local what, deleted = 'group', stream .. ' ' .. group
if added < known or (known > 0 and is_younger) then
    -- The stream is a new one, with a new count: the events routed before stay counted, also those since the last save.
    known = known + math.max(routed - number(lane, 'counted:' .. stream) - added, 0)
    redis.call('HINCRBY', lane, 'start:' .. stream, -known)
    redis.call('HSET', lane, 'checkpoint:' .. stream, '0-0', 'known:' .. stream, added, 'last:' .. stream, last,
        'counted:' .. stream, routed)
    checkpoint, what, deleted = '0-0', 'stream', stream
end
local owed = owed_of(lane, stream, added)
local given = resume(lane, stream, group, consumer, checkpoint)
record(lane, stream, given - owed)
if redis.call('HDEL', lane, 'gone:' .. stream) == 1 then
    return { left } -- an operator dropped the topic, and relay.toml has it again
end
return { left, what, deleted, given, given - owed }
