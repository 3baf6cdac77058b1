#!lua flags=allow-oom
-- Creates a lane's groups if they do not exist, and records its position in the topic stream.
-- KEYS: lane, retries, topic stream, replay stream, lanes
-- ARGV: group, lane name
-- A lane that is new in the stream starts with the events routed from now on. A lost group returns to its checkpoint, or
-- to the beginning if the stream was lost as well, and the lane deletes its waiting retries of that stream.
-- A topic that the lane read before and no longer reads is left: the lane still owes its entries up to now.
-- For a lost group, the entries that are redelivered or lost are counted here, in the same step.
-- Returns {streams it has left, each followed by the last id that it owes}, and for a lost group also the number of
-- entries that it gets now, and by how many that exceeds (or, if negative, falls below) the ledger.
--#include types
local lane, retries, stream, replay, lanes = unpack(KEYS)
local group, name = ARGV[1], ARGV[2]

local function number(field)
    return tonumber(redis.call('HGET', lane, field .. ':' .. stream) or 0)
end

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

local function last_and_added(of)
    local last, added
    local info = redis.pcall('XINFO', 'STREAM', of)
    if info.err then
        return '0-0', 0
    end
    for at = 1, #info, 2 do
        if info[at] == 'last-generated-id' then
            last = info[at + 1]
        elseif info[at] == 'entries-added' then
            added = info[at + 1]
        end
    end
    if not added then
        error('this Redis is too old: linq-relay needs 7.0 or newer')
    end
    return last, added
end

local function left_streams()
    local left = {}
    for _, field in ipairs(redis.call('HKEYS', lane)) do
        local other = string.match(field, '^start:(.*)$')
        if other and other ~= stream then
            local last = redis.call('HGET', lane, 'left:' .. other)
            if not last then
                local had
                last, had = last_and_added(other)
                redis.call('HSET', lane, 'left:' .. other, last)
                if had > tonumber(redis.call('HGET', lane, 'known:' .. other)) then
                    redis.call('HSET', lane, 'known:' .. other, had)
                end
            end
            left[#left + 1] = other
            left[#left + 1] = last
        end
    end
    redis.call('HDEL', lane, 'left:' .. stream)
    return left
end

-- Counts the entries of the stream after an id in pages; more than some thousands only if a lane is far behind.
local function count_after(id)
    local count, page = 0, 1000
    repeat
        local rows = redis.call('XRANGE', stream, '(' .. id, '+', 'COUNT', page)
        count = count + #rows
        id = #rows > 0 and rows[#rows][1] or id
    until #rows < page
    return count
end

-- All keys of the lane: a worker that could not settle a delivery must not send it.
must_be('stream', stream, replay, lane .. ':dead', lane .. ':attempts', lane .. ':answers')
must_be('hash', lane, lane .. ':tries', lane .. ':blocked')
must_be('zset', retries)
must_be('set', lanes)
make_group(replay, '0')
redis.call('SADD', lanes, name)
local left = left_streams()
local checkpoint = redis.call('HGET', lane, 'checkpoint:' .. stream)
if not make_group(stream, checkpoint or '$') then
    return { left }
end
local last, added = last_and_added(stream)
if not checkpoint then
    redis.call('HSET', lane, 'checkpoint:' .. stream, last, 'start:' .. stream, added, 'known:' .. stream, added)
    return { left }
end
if added < number('known') then
    -- The stream is a new one, with a new count: the events routed before stay counted.
    redis.call('HINCRBY', lane, 'start:' .. stream, -number('known'))
    redis.call('HSET', lane, 'checkpoint:' .. stream, '0-0', 'known:' .. stream, added)
    redis.call('XGROUP', 'SETID', stream, group, '0')
    checkpoint = '0-0'
end
local prefix = stream .. '|'
for _, ref in ipairs(redis.call('ZRANGE', retries, 0, -1)) do
    if string.sub(ref, 1, #prefix) == prefix then
        redis.call('ZREM', retries, ref)
    end
end
local owed = added - number('start') + number('repeated') - number('lost') - number('settled')
local given = count_after(checkpoint)
if given > owed then
    redis.call('HINCRBY', lane, 'repeated:' .. stream, given - owed)
elseif given < owed then
    redis.call('HINCRBY', lane, 'lost:' .. stream, owed - given)
end
return { left, given, given - owed }
