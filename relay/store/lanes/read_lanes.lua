#!lua flags=allow-oom
-- Reads entries that are new to many lanes, as the holder of their partition's lease: for each as `read_new` does for one.
-- KEYS: lease
-- ARGV: lease token, consumer, most entries in all, then for each lane: group, topic stream, replay stream, count of the topic,
--       room: the replays fill what the topic has left of it, at least by one
-- Returns for each lane the reply of XREADGROUP for each stream with new entries; the error, if it has one; or 0 if its turn did
-- not come, since those before it had as many entries as may be read at once.
-- Or -1 if another worker holds the lease.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return -1
end
local consumer, left = ARGV[2], tonumber(ARGV[3])

local function read(group, stream, count, found)
    local rows = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
    if not rows then
        return 0
    elseif rows.err then
        return nil, rows.err
    end
    found[#found + 1] = rows[1]
    return #rows[1][2]
end

local function read_lane(group, topic, replay, count, room)
    local found = {}
    local taken, failure = read(group, topic, math.min(count, left), found)
    if not taken then
        return failure
    end
    local replays
    replays, failure = read(group, replay, math.max(math.min(room, left) - taken, 1), found)
    left = left - taken - (replays or 0)
    return failure or found
end

local lanes = {}
for at = 4, #ARGV, 5 do
    local group, topic, replay = unpack(ARGV, at, at + 2)
    lanes[#lanes + 1] = left > 0 and read_lane(group, topic, replay, tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])) or 0
end
return lanes
