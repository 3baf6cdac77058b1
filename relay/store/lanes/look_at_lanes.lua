#!lua flags=allow-oom
-- Looks at many lanes: finds those with work, and those that are not as their counters say; saves the positions of the others.
-- Here, and for many at once, since XINFO GROUPS lists every group of a topic, and a round trip costs more than a look.
-- KEYS: counts
-- ARGV: most pending entries to examine for a position (0: none is saved), then for each lane its key, group and topic stream
-- Changes nothing of a lane that must be repaired (`ensure_lane`, `audit_lane`), has unread replays or once read another topic:
-- each of these must be looked at by itself.
-- Returns for each lane that is not at rest, flat: its number (from 1), its unread entries, those pending in its groups, those of
-- them that wait for a retry, and when the next is due (ms; -1: none); with -1 as its unread entries, it must be looked at by itself.
--#include lane_position
local counts, most = KEYS[1], tonumber(ARGV[1])

local asked = {}
for at = 3, #ARGV, 3 do
    asked[ARGV[at]] = true
end

-- A topic's stream as of this moment, and those of its groups that are asked for.
local streams = {}
local function stream_of(name)
    local known = streams[name]
    if known == nil then
        known = info_of(name) or false
        streams[name] = known
        if known then
            known.groups, known.routed = {}, number(counts, 'routed:' .. name)
            known.first = known['first-entry'] and known['first-entry'][1]
            for _, flat in ipairs(redis.call('XINFO', 'GROUPS', name)) do
                if asked[flat[2]] then
                    known.groups[flat[2]] = pairs_of(flat)
                end
            end
        end
    end
    return known
end

-- Returns the sum of the fields whose names begin with a prefix, and their number.
local function total(fields, prefix)
    local sum, found = 0, 0
    for name, value in pairs(fields) do
        if string.sub(name, 1, #prefix) == prefix then
            sum, found = sum + tonumber(value), found + 1
        end
    end
    return sum, found
end

local function save(lane, fields, name, stream, row)
    local checkpoint = row['last-delivered-id']
    if row['pending'] > 0 then
        local start, examined, untried = '-', 0, nil
        repeat
            local rows = redis.call('XPENDING', name, row['name'], start, '+', 100)
            for _, pending in ipairs(rows) do
                examined = examined + 1
                if examined > most or redis.call('HEXISTS', lane .. ':tries', name .. '|' .. pending[1]) == 0 then
                    untried = pending[1]
                    break
                end
            end
            start = #rows > 0 and '(' .. rows[#rows][1] or start
        until untried or #rows < 100
        checkpoint = untried and id_before(untried) or checkpoint
    end
    local saved = { checkpoint = checkpoint, known = stream['entries-added'], last = stream['last-generated-id'],
        counted = stream.routed }
    local changes = { lane }
    for field, value in pairs(saved) do
        if fields[field .. ':' .. name] ~= tostring(value) then
            changes[#changes + 1] = field .. ':' .. name
            changes[#changes + 1] = value
        end
    end
    if #changes > 1 then
        redis.call('HSET', unpack(changes))
    end
end

-- Returns the numbers of a lane; nothing if it must be looked at by itself.
local function look(lane, group, name)
    local fields = pairs_of(redis.call('HGETALL', lane))
    local function of(field)
        return tonumber(fields[field] or 0)
    end
    local _, read = total(fields, 'start:')
    local stream = stream_of(name)
    local row = stream and stream.groups[group]
    if read ~= 1 or not fields['start:' .. name] or not fields['checkpoint:' .. name] or fields['left:' .. name] or not row then
        return nil
    end
    local owed = stream['entries-added'] - of('start:' .. name) + of('repeated:' .. name) - of('lost:' .. name)
        - of('settled:' .. name) - of('dropped:' .. name)
    local unread = owed - row['pending']
    if not stream.first or is_after(stream.first, row['last-delivered-id']) then
        if unread ~= stream['length'] then
            return nil
        end
    elseif row['lag'] ~= unread or unread > stream['length'] then
        return nil
    end
    local replay, dead = lane .. ':replay', lane .. ':dead'
    local replays, replaying = redis.call('XLEN', replay), redis.call('XPENDING', replay, group)[1]
    local settled = of('delivered') + of('filtered') + of('died') - total(fields, 'settled:')
    local letters = of('died') - of('dropped') - of('discarded') - of('replayed') + of('from_history')
    if replays ~= of('replayed') - settled - of('lost:' .. replay) + of('repeated:' .. replay)
        or redis.call('XLEN', dead) ~= letters - of('lost:' .. dead) + of('repeated:' .. dead) then
        return nil
    end
    if replaying ~= replays then
        return nil -- unread or lost: only the audit tells
    end
    -- Fail if a key is of another type.
    redis.call('HLEN', lane .. ':tries')
    redis.call('HLEN', lane .. ':blocked')
    redis.call('XLEN', lane .. ':attempts')
    redis.call('XLEN', lane .. ':answers')
    local due = redis.call('ZRANGE', lane .. ':retries', 0, 0, 'WITHSCORES')[2]
    local retrying = due and redis.call('ZCARD', lane .. ':retries') or 0
    if most > 0 then
        save(lane, fields, name, stream, row)
    end
    return unread, row['pending'] + replaying, retrying, due and tonumber(due) or -1
end

local found = {}
for at = 2, #ARGV, 3 do
    local is_right, unread, pending, retrying, due = pcall(look, ARGV[at], ARGV[at + 1], ARGV[at + 2])
    if not is_right or not unread then
        unread, pending, retrying, due = -1, 0, 0, -1
    end
    if unread ~= 0 or pending > 0 or retrying > 0 then
        for _, value in ipairs({ (at - 2) / 3 + 1, unread, pending, retrying, due }) do
            found[#found + 1] = value
        end
    end
end
return found
