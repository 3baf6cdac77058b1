#!lua flags=allow-oom
-- Reads entries that are new to many lanes, as the holder of their partition's lease: for each as `read_new` does for one.
-- Several shards come here together if they share a server that is no cluster (`sharding.shards.by_server`).
-- KEYS: lease per shard
-- ARGV: consumer, most entries in all; then per shard: lease token, number of lanes; then per lane: group, topic stream, replay
--       stream, count of the topic, room: the replays fill what the topic has left of it, at least by one
-- Returns for each lane the reply of XREADGROUP for each stream with new entries; the error, if it has one; 0 if its turn did
-- not come, since those before it had as many entries as may be read at once; or -1 if another worker holds the lease.
local consumer, left = ARGV[1], tonumber(ARGV[2])

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

local lanes, at, shard = {}, 3, 0
while at <= #ARGV do
    shard = shard + 1
    local holder = redis.pcall('GET', KEYS[shard])
    local held = not holder or holder == ARGV[at]
    local first, last = at + 2, at + 1 + 5 * ARGV[at + 1]
    for lane = first, last, 5 do
        local group, topic, replay, count, room = unpack(ARGV, lane, lane + 4)
        local is_next = held and left > 0
        lanes[#lanes + 1] = is_next and read_lane(group, topic, replay, tonumber(count), tonumber(room)) or held and 0 or -1
    end
    at = last + 1
end
return lanes
