#!lua flags=allow-oom
-- Delivers events of a pull group to one of its members: expired and returned ones first, then new ones. An event that was
-- delivered as often as it may be becomes a dead letter of the group instead.
-- KEYS: topic stream, places of its pull groups, dead letters of the group
-- ARGV: group, consumer of the member, limits: events, bytes, events of the group that are not acknowledged;
--       idle time after which an event of a consumer without a visibility timeout is expired (ms), that of returned
--       ones (ms), consumer of returned ones, start of a new group (empty: make none), minimum idle time of unused
--       consumers to be deleted (ms; 0: delete none), limit of events that the member may hold, unless they have expired,
--       owner of the group (its groups have that name, or begin with it and a dot), most groups of an owner, most
--       members of a group, most deliveries of an event (0: no limit), now (ms), most runs of events that are delivered
--       again
-- Returns: `groups` or `members` if there are as many as there may be, and `absent` if there is no such group and none was
-- to be made; then nothing was done. Else
-- `joined`, `created` or `restored`; number of events that were trimmed before the group read them (-1:
-- unknown, at least one); number of those trimmed while they were pending; number of pending events afterwards; entries;
-- the number of deliveries of each; number of events that became dead letters; number of events that the member holds; and
-- the runs of the events: of each the first id, the last one, the number of deliveries, and for new events the position of
-- the group before. Between the events of a run nothing else can come to the member later, whatever it is sent.
--#include types
--#include pull_group
--#include group_letters
local stream, places, dead = unpack(KEYS)
local name, consumer, returned, start = ARGV[1], ARGV[2], ARGV[8], ARGV[9]
local left, bytes, room = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local claim_after, returned_idle, unused = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[10])
local may_hold = tonumber(ARGV[11])
local owner, most_groups, most_members = ARGV[12], tonumber(ARGV[13]), tonumber(ARGV[14])
local max_deliveries, now, most_runs = tonumber(ARGV[15]), ARGV[16], tonumber(ARGV[17])
must_be('stream', stream, dead)
must_be('hash', places)

local step = math.max(math.min(16, math.floor(bytes / 65536)), 1) -- entries: a batch ends soon after its limit of bytes
local state, missed, trimmed, buried, held = 'joined', 0, 0, 0, 0
local entries, deliveries, runs = {}, {}, {}

local function has_room_for_group()
    if redis.call('EXISTS', stream) == 0 then
        return true
    end
    local count = 0
    for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
        local other = table_of(row)['name']
        if other == owner or string.sub(other, 1, #owner + 1) == owner .. '.' then
            count = count + 1
        end
    end
    return count < most_groups
end

local function has_room_for_member(group)
    if group['consumers'] < most_members then
        return true
    end
    for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, name)) do
        if table_of(row)['name'] == consumer then
            return true
        end
    end
    return false
end

local function join()
    local place = redis.call('HGET', places, name)
    state = place and 'restored' or 'created'
    redis.call('XGROUP', 'CREATE', stream, name, place or start, 'MKSTREAM')
    local group = group_of(stream, name)
    if state == 'created' then
        group['last-delivered-id'] = '0-0' -- a new group has missed nothing
    end
    return group
end

local function add(rows, count_of)
    for _, row in ipairs(rows) do
        entries[#entries + 1] = row
        deliveries[#deliveries + 1] = count_of[row[1]] or 1
        left = left - 1
        for _, text in ipairs(row[2]) do
            bytes = bytes - #text
        end
    end
end

-- Adds an event to the last run, or begins one with it.
local function note(id, count, is_apart, position)
    local run = runs[#runs]
    if run and not is_apart and run[3] == count then
        run[2] = id
    else
        runs[#runs + 1] = { id, id, count, position or '' }
    end
end

local function least_idle_of(holder)
    return holder == returned and returned_idle or visibility_of(holder) or claim_after
end

-- Makes a dead letter of an event that was delivered as often as it may be.
local function bury_worn_out(row)
    local letter = { reason = 'max_deliveries', error = '', at = now }
    if bury(stream, dead, name, row[1], row[4], member_of(row[2]) or row[2], letter) then
        buried = buried + 1
    else
        trimmed = trimmed + 1
    end
end

-- The events before which another one is pending, which the member does not get with them; and how many of them, in
-- order, it may get: as many as make no more than `most_runs`.
local function divide(ids, count_of, count)
    local is_apart, parts, at, from, is_after_other = {}, 0, 1, ids[1], true
    local page = 8 -- rows: more while no others are between
    while at <= count do
        for _, row in ipairs(redis.call('XPENDING', stream, name, from, ids[count], page)) do
            from = '(' .. row[1]
            if row[1] ~= ids[at] then
                is_after_other = true
            else
                if is_after_other or count_of[row[1]] ~= count_of[ids[at - 1]] then
                    parts = parts + 1
                end
                if parts > most_runs then
                    return is_apart, at - 1
                end
                is_apart[row[1]], is_after_other, at = is_after_other, false, at + 1
            end
        end
        if is_after_other then
            from, page = ids[at], 8 -- what else is before it does not matter
        else
            page = math.min(page * 2, 256)
        end
    end
    return is_apart, count
end

local function claim_expired(summary)
    local ids, count_of = {}, {}
    for _, holder in ipairs(summary[4] or {}) do
        local rows = redis.call('XPENDING', stream, name, 'IDLE', least_idle_of(holder[1]), '-', '+', left, holder[1])
        if member_of(holder[1]) == member_of(consumer) then
            held = held + tonumber(holder[2]) - #rows
        end
        for _, row in ipairs(rows) do
            if max_deliveries > 0 and row[4] >= max_deliveries then
                bury_worn_out(row)
            else
                ids[#ids + 1] = row[1]
                count_of[row[1]] = row[4] + 1
            end
        end
    end
    left = math.min(left, may_hold - held)
    if #ids == 0 or left <= 0 then
        return
    end
    table.sort(ids, is_before)
    local wanted = math.min(#ids, left)
    local is_apart, count = divide(ids, count_of, wanted)
    local at = 1
    while at <= count and left > 0 and bytes > 0 do
        local last = math.min(at + math.min(step, left) - 1, count)
        local rows = redis.call('XCLAIM', stream, name, consumer, 0, unpack(ids, at, last))
        trimmed = trimmed + (last - at + 1) - #rows
        add(rows, count_of)
        for claimed = at, last do -- also those that were trimmed: they may be the first of their run
            note(ids[claimed], count_of[ids[claimed]], is_apart[ids[claimed]])
        end
        at = last + 1
    end
    if count < wanted then
        left = 0 -- the rest comes before new events
    end
end

local function missed_by(group, info)
    local removed, first = info['entries-added'] - info['length'], info['first-entry']
    local position, read = group['last-delivered-id'], group['entries-read']
    if removed == 0 or position == '0-0' or (first and not is_before(position, first[1])) then
        return 0
    elseif read then
        return math.max(removed - read, 0)
    end
    return (first or position ~= info['last-generated-id']) and -1 or 0
end

local function read_new(group)
    local info = table_of(redis.call('XINFO', 'STREAM', stream))
    missed = missed_by(group, info)
    if missed ~= 0 then -- Redis does not count what the group never read
        local first, removed = info['first-entry'], info['entries-added'] - info['length']
        local position = first and id_before(first[1]) or info['last-generated-id']
        redis.call('XGROUP', 'SETID', stream, name, position, 'ENTRIESREAD', removed)
    end
    local is_first = true
    while left > 0 and bytes > 0 and room > 0 do
        local count = math.min(step, left, room)
        local reply = redis.call('XREADGROUP', 'GROUP', name, consumer, 'COUNT', count, 'STREAMS', stream, '>')
        local rows = reply and reply[1][2] or {}
        add(rows, {})
        for at, row in ipairs(rows) do
            note(row[1], 1, at == 1 and is_first, group['last-delivered-id'])
        end
        is_first = false
        room = room - #rows
        if #rows < count then
            break
        end
    end
end

local function delete_unused()
    for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, name)) do
        local other = table_of(row)
        local is_ours = visibility_of(other['name']) and other['name'] ~= consumer
        if is_ours and other['pending'] == 0 and other['idle'] >= unused then
            redis.call('XGROUP', 'DELCONSUMER', stream, name, other['name'])
        end
    end
end

left = math.min(left, may_hold)
local known = group_of(stream, name)
if not known and start == '' and not redis.call('HGET', places, name) then
    return { 'absent' }
end
if not known and not has_room_for_group() then
    return { 'groups' }
end
if known and not has_room_for_member(known) then
    if unused > 0 then
        delete_unused()
    end
    if not has_room_for_member(group_of(stream, name)) then
        return { 'members' }
    end
end
local group = known or join()
local pending = group['pending']
if pending > 0 then
    claim_expired(redis.call('XPENDING', stream, name))
end
room = room - pending
if left > 0 and bytes > 0 and room > 0 then
    read_new(group)
end
if unused > 0 then
    delete_unused()
end
if #entries > 0 or buried > 0 or state ~= 'joined' then
    save_place(places, stream, name)
end
return { state, missed, trimmed, group_of(stream, name)['pending'], entries, deliveries, buried, held + #entries, runs }
