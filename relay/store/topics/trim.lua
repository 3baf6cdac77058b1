#!lua flags=allow-oom
-- Removes the oldest entries of a topic: those beyond the limits of age and number that no group needs; and beyond the
-- hard cap also needed ones.
-- KEYS: topic stream
-- ARGV: id of the oldest entry that is young enough, most entries, hard cap of entries, most entries to remove in
--       this step, prefix of lanes' keys, prefix of lanes' groups; groups of shadows, which keep nothing from being
--       removed: they skip it, and count it as lost
-- A lane's losses to the hard cap are counted: unread entries now, pending ones when their delivery is read.
-- A lane whose hash is of a wrong type keeps what it has not read, and its losses are not counted: the topic is trimmed.
-- Returns the numbers of removed entries, of needed ones among them, and of remaining ones, and the group that needs the
-- oldest entry (empty if none does).
local stream = KEYS[1]
local young, most, hard, step = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lane_prefix, group_prefix = ARGV[5], ARGV[6]

local function parts(id)
    local ms, sequence = string.match(id, '^(%d+)-?(%d*)$')
    return tonumber(ms), tonumber(sequence) or 0
end

local function is_before(id, other)
    local ms, sequence = parts(id)
    local other_ms, other_sequence = parts(other)
    return ms < other_ms or (ms == other_ms and sequence < other_sequence)
end

local function after(id)
    local ms, sequence = parts(id)
    return string.format('%.0f-%.0f', ms, sequence + 1)
end

local function lane_of(group)
    if string.sub(group, 1, #group_prefix) == group_prefix then
        return lane_prefix .. string.sub(group, #group_prefix + 1)
    end
end

local function groups_of()
    local found = {}
    local rows = redis.pcall('XINFO', 'GROUPS', stream)
    if rows.err then
        return found
    end
    for _, row in ipairs(rows) do
        local group = {}
        for at = 1, #row, 2 do
            group[row[at]] = row[at + 1]
        end
        found[#found + 1] = group
    end
    return found
end

-- Returns the oldest entry that a group needs; nil for a lane that has left the topic and has read all that it is owed.
local function needed_by(group)
    if group['pending'] > 0 then
        return redis.call('XPENDING', stream, group['name'])[2]
    end
    local lane = lane_of(group['name'])
    local left = lane and redis.pcall('HGET', lane, 'left:' .. stream)
    if type(left) == 'string' and not is_before(group['last-delivered-id'], left) then
        return nil
    end
    return after(group['last-delivered-id'])
end

-- Returns the id after the first `count` entries.
local function id_beyond(count)
    local rows = redis.call('XRANGE', stream, '-', '+', 'COUNT', math.min(count, step))
    return #rows > 0 and after(rows[#rows][1]) or '0-0'
end

local function trim(to)
    return redis.call('XTRIM', stream, 'MINID', '=', to)
end

local function skip(group, to)
    local unread = #redis.call('XRANGE', stream, '(' .. group['last-delivered-id'], '(' .. to, 'COUNT', step)
    if unread == 0 then
        return 0
    end
    local lane = lane_of(group['name'])
    if lane then
        redis.pcall('HINCRBY', lane, 'lost:' .. stream, unread)
    end
    local last = redis.call('XREVRANGE', stream, '(' .. to, '-', 'COUNT', 1)[1][1]
    redis.call('XGROUP', 'SETID', stream, group['name'], last)
    return unread
end

local groups, shadows = groups_of(), {}
for at = 7, #ARGV do
    shadows[ARGV[at]] = true
end
local floor, slowest = nil, ''
for _, group in ipairs(groups) do
    local need = not shadows[group['name']] and needed_by(group)
    if need and (not floor or is_before(need, floor)) then
        floor, slowest = need, group['name']
    end
end

local length = redis.call('XLEN', stream)
local to = id_beyond(step)
if length <= most then
    to = is_before(young, to) and young or to
else
    local small = id_beyond(length - most)
    local later = is_before(small, young) and young or small
    to = is_before(later, to) and later or to
end
if floor and is_before(floor, to) then
    to = floor
end
for _, group in ipairs(groups) do
    if shadows[group['name']] and is_before(group['last-delivered-id'], to) then
        skip(group, to)
    end
end
local removed, needed = trim(to), 0

length = redis.call('XLEN', stream)
if length > hard then
    to = id_beyond(length - hard)
    for _, group in ipairs(groups) do
        skip(group, to)
    end
    needed = trim(to)
end
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if not first or not floor or is_before(first[1], floor) then
    return { removed + needed, needed, redis.call('XLEN', stream), '' }
end
return { removed + needed, needed, redis.call('XLEN', stream), slowest }
