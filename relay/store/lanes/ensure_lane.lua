#!lua flags=allow-oom
-- Makes a lane's groups if they are not there, and notes its place in the topic stream.
-- KEYS: lane, retries, topic stream, replay stream, lanes
-- ARGV: group, lane name
-- A lane that is new in the stream begins with what is routed from now on. One whose group was lost goes back to its
-- checkpoint, or to the beginning if the stream was lost as well, and forgets its waiting retries of that stream.
-- A topic that the lane read before and does not read now, it has left: what that stream had until now it still owes.
-- Of a group that was lost, what is given again, or can no longer be given, is counted here, in the same step.
-- Returns {streams it has left, each followed by the last id that it owes of it}, and for a group that was lost also
-- how many entries it is given now, and how many of them more (or less, if negative) than the ledger expects.
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

-- The entries of the stream after an id, a page at a time; more than some thousands only if a lane is far behind.
local function count_after(id)
    local count, page = 0, 1000
    repeat
        local rows = redis.call('XRANGE', stream, '(' .. id, '+', 'COUNT', page)
        count = count + #rows
        id = #rows > 0 and rows[#rows][1] or id
    until #rows < page
    return count
end

must_be('stream', stream, replay)
must_be('hash', lane)
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
    -- The stream itself is another one, whose count began anew: what was routed before stays counted.
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
