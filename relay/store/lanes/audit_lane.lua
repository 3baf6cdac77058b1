#!lua flags=allow-oom
-- Compares what a lane has with what its counters say that it is owed, and repairs it where something was deleted by hand.
-- KEYS: lane, retries, replay stream, dead letters, blocked chats
-- ARGV: group, consumer, 1 if the lane is in relay.toml, most entries to count here,
--       then counts that the caller has made: stream, id after which and id up to which it counted, their number
-- A delivery that is not in its group any more is read again from the lane's checkpoint; what its stream no longer has is
-- counted as lost. A dead letter or a replay that was deleted is counted as lost, and no longer blocks its chat.
-- Redis's own number of unread entries is taken if it agrees with the counters; if not, they are counted, and its number
-- is corrected: Redis 7.0 gets it wrong when it loads its append-only file.
-- Returns the streams that have more to count, each followed by the id after which: the caller counts in steps, and runs
-- the audit again; and for each thing that was deleted: its key and what of it, the number of entries that the lane gets again, and by
-- how many that exceeds (or, if negative, falls below) the ledger.
--#include types
--#include lane_position
local lane, retries, replay, letters, blocked = unpack(KEYS)
local group, consumer, is_configured = ARGV[1], ARGV[2], ARGV[3] == '1'
local found = {}

local function report(key, what, again, surplus)
    for _, value in ipairs({ key, what, again, surplus }) do
        found[#found + 1] = value
    end
end

-- Returns true if a stream begins after an id; what it began with before may have been trimmed.
local function is_trimmed(stream, id)
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    return not first or is_after(first[1], id)
end

-- Returns the number of entries that the group has not read; `expected` by the counters.
local function unread_in(stream, row, info, left, expected)
    local read_up_to, added = row['last-delivered-id'], info['entries-added']
    if left then
        return is_after(left, read_up_to) and count_after(stream, read_up_to, left) or 0
    end
    local starts_after = is_trimmed(stream, read_up_to)
    if row['lag'] == expected and expected <= info['length'] and not starts_after then
        return expected
    end
    local unread = starts_after and info['length'] or count_after(stream, read_up_to)
    redis.call('XGROUP', 'SETID', stream, group, read_up_to, 'ENTRIESREAD', math.max(added - unread, 0))
    return unread
end

-- Returns how many entries were deleted that the group had not read, at most `missing`; 0 unless something was deleted there.
local function deleted_after(stream, row, info, unread, missing)
    local read_up_to, added = row['last-delivered-id'], info['entries-added']
    if not row['entries-read'] or not (is_trimmed(stream, read_up_to) or is_after(info['max-deleted-entry-id'], read_up_to)) then
        return 0
    end
    return math.max(math.min(missing, added - row['entries-read'] - unread), 0)
end

local function audit_stream(stream)
    local left = redis.call('HGET', lane, 'left:' .. stream)
    local info, row = info_of(stream), group_in(stream, group)
    local added = (left or not info) and number(lane, 'known:' .. stream) or info['entries-added']
    local owed = owed_of(lane, stream, added)
    local has = row and row['pending'] + unread_in(stream, row, info, left, owed - row['pending']) or 0
    if has == owed or (not row and is_configured and not left) then -- `ensure` creates a group that is missing
        return
    end
    local again, gone = 0, 0
    local key, what = stream, not info and 'stream' or not row and 'group' or 'entries'
    if row and has < owed then
        gone = left and 0 or deleted_after(stream, row, info, has - row['pending'], owed - has)
        owed = owed - gone
    end
    if info and is_configured and has ~= owed then
        local from = redis.call('HGET', lane, 'checkpoint:' .. stream) or '0-0'
        if has > owed then -- the group was moved back: what is pending beyond its position is read again as well
            from = row['last-delivered-id']
        end
        key = stream .. ' ' .. group
        what = not row and 'group' or has > owed and 'position' or 'pending entries'
        has = resume(lane, stream, group, consumer, from, left)
        again = has
    end
    record(lane, stream, -gone)
    record(lane, stream, has - owed)
    report(key, what, again, has - owed - gone)
end

local function audit_replays()
    local row = group_in(replay, group)
    if not row then
        return -- `ensure` creates it
    end
    local settled = number(lane, 'delivered') + number(lane, 'filtered') + number(lane, 'died')
    for _, field in ipairs(redis.call('HKEYS', lane)) do
        if string.sub(field, 1, 8) == 'settled:' then
            settled = settled - number(lane, field)
        end
    end
    local owed = number(lane, 'replayed') - settled - number(lane, 'lost:' .. replay) + number(lane, 'repeated:' .. replay)
    local has = row['pending'] + count_after(replay, row['last-delivered-id'])
    if has == owed then
        return
    end
    local what = 'entries'
    if has < owed and redis.call('XLEN', replay) > has then
        what, has = 'pending entries', resume(lane, replay, group, consumer, '0-0')
    elseif has < owed then
        for _, id in ipairs(tried(lane, replay)) do
            if #redis.call('XRANGE', replay, id, id) == 0 then
                redis.call('ZREM', retries, replay .. '|' .. id)
                redis.call('HDEL', lane .. ':tries', replay .. '|' .. id)
            end
        end
    end
    record(lane, replay, has - owed)
    report(replay, what, has, has - owed)
end

local function audit_letters()
    local owed = number(lane, 'died') - number(lane, 'dropped') - number(lane, 'discarded') - number(lane, 'replayed')
        + number(lane, 'from_history') - number(lane, 'lost:' .. letters) + number(lane, 'repeated:' .. letters)
    local has = redis.call('XLEN', letters)
    if has ~= owed then
        record(lane, letters, has - owed)
        report(letters, 'entries', 0, has - owed)
    end
end

local function unblock()
    local chats = redis.call('HGETALL', blocked)
    for at = 1, #chats, 2 do
        local stream, id = string.match(chats[at + 1], '^(.*)|([^|]*)$')
        if #redis.call('XRANGE', stream, id, id) == 0 then
            redis.call('HDEL', blocked, chats[at])
        end
    end
end

must_be('hash', lane, blocked, lane .. ':tries')
must_be('zset', retries)
must_be('stream', replay, letters)
if redis.call('EXISTS', lane) == 0 then
    return { {} }
end
most_counted = tonumber(ARGV[4])
for at = 5, #ARGV, 4 do
    local stream, from, to, number_of = unpack(ARGV, at, at + 3)
    counted[#counted + 1] = { stream = stream, from = from, to = to, number = tonumber(number_of) }
end
local uncounted = {}
for _, field in ipairs(redis.call('HKEYS', lane)) do
    if string.sub(field, 1, 6) == 'start:' then
        local ok, failure = pcall(audit_stream, string.sub(field, 7))
        if not ok and type(failure) == 'table' and failure.from then
            uncounted[#uncounted + 1] = failure.stream
            uncounted[#uncounted + 1] = failure.from
        elseif not ok then
            error(failure, 0)
        end
    end
end
most_counted = nil
audit_replays()
audit_letters()
if #found > 0 then
    unblock()
end
return { uncounted, unpack(found) }
