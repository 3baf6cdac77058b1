#!lua flags=no-writes,allow-oom
-- Reads what the ledgers of lanes are made of, as of one moment: here, since XINFO GROUPS lists every group of a
-- topic, and a page of lanes asks for few of them.
-- KEYS: lanes
-- ARGV: consumer group of each lane
-- Returns for each lane its fields, its numbers of retries and dead letters, and its replay stream, or what is wrong
-- with a key of it; the topic streams that the lanes ever read; and for each of these the same as of a replay stream:
-- nothing if it does not exist, what is wrong with it, or its length, last id, entries ever added, first id (or
-- nothing), and of each group that is asked for its name, last id, pending entries and lag (or nothing).
local asked = {}
for _, group in ipairs(ARGV) do
    asked[group] = true
end

local function value_of(flat, name)
    for at = 1, #flat, 2 do
        if flat[at] == name then
            return flat[at + 1]
        end
    end
end

local function is_wrong_type(reply)
    return type(reply) == 'table' and reply.err and string.find(reply.err, 'WRONGTYPE', 1, true)
end

local function read_stream(stream)
    local info = redis.pcall('XINFO', 'STREAM', stream)
    if info.err then
        if is_wrong_type(info) then
            return info.err
        end
        if string.find(info.err, 'no such key', 1, true) then
            return false
        end
        error(info)
    end
    local first, groups = value_of(info, 'first-entry'), {}
    for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
        local name = value_of(row, 'name')
        if asked[name] then
            local last, pending, lag = value_of(row, 'last-delivered-id'), value_of(row, 'pending'), value_of(row, 'lag')
            groups[#groups + 1] = { name, last, pending, lag or false }
        end
    end
    local last, added = value_of(info, 'last-generated-id'), value_of(info, 'entries-added')
    return { value_of(info, 'length'), last, added, first and first[1], groups }
end

local function read_lane(lane)
    local replies = {
        redis.pcall('HGETALL', lane),
        redis.pcall('ZCARD', lane .. ':retries'),
        redis.pcall('XLEN', lane .. ':dead'),
    }
    for _, reply in ipairs(replies) do
        if is_wrong_type(reply) then
            return reply.err
        elseif type(reply) == 'table' and reply.err then
            error(reply)
        end
    end
    replies[4] = read_stream(lane .. ':replay')
    return replies
end

local START = 'start:'
local lanes, names, streams, known = {}, {}, {}, {}
for at, lane in ipairs(KEYS) do
    lanes[at] = read_lane(lane)
    local fields = type(lanes[at]) == 'table' and lanes[at][1] or {}
    for n = 1, #fields, 2 do
        local stream = string.sub(fields[n], 1, #START) == START and string.sub(fields[n], #START + 1)
        if stream and not known[stream] then
            known[stream] = true
            names[#names + 1], streams[#streams + 1] = stream, read_stream(stream)
        end
    end
end
return { lanes, names, streams }
