-- Makes a lane's groups if they are not there, and notes its place in the topic stream.
-- KEYS: lane, retries, topic stream, replay stream, lanes
-- ARGV: group, lane name
-- A lane that is new in the stream begins with what is routed from now on. One whose group was lost goes back to its
-- checkpoint, or to the beginning if the stream was lost as well, and forgets its waiting retries of that stream.
-- Returns nothing, or for a group that was lost: {id it goes on after, last id of the stream, how many entries the
-- ledger expects it to owe}.
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

local function last_and_added()
    local last, added
    local info = redis.call('XINFO', 'STREAM', stream)
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

make_group(replay, '0')
redis.call('SADD', lanes, name)
local checkpoint = redis.call('HGET', lane, 'checkpoint:' .. stream)
if not make_group(stream, checkpoint or '$') then
    return false
end
local last, added = last_and_added()
if not checkpoint then
    redis.call('HSET', lane, 'checkpoint:' .. stream, last, 'start:' .. stream, added, 'known:' .. stream, added)
    return false
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
return { checkpoint, last, owed }
