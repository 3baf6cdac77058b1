-- A lane's position in a stream: the lane's counters, the entries that its group still has, and the return to its checkpoint.
local function number(lane, field)
    return tonumber(redis.call('HGET', lane, field) or 0)
end

-- Returns the number of entries of a stream that the lane is owed by its counters, if `added` were ever added to it.
local function owed_of(lane, stream, added)
    return added - number(lane, 'start:' .. stream) + number(lane, 'repeated:' .. stream) - number(lane, 'lost:' .. stream)
        - number(lane, 'settled:' .. stream) - number(lane, 'dropped:' .. stream)
end

local function is_after(id, other)
    local ms, sequence = string.match(id, '^(%d+)-?(%d*)$')
    local other_ms, other_sequence = string.match(other, '^(%d+)-?(%d*)$')
    ms, other_ms = tonumber(ms), tonumber(other_ms)
    return ms > other_ms or (ms == other_ms and (tonumber(sequence) or 0) > (tonumber(other_sequence) or 0))
end

-- Returns the greatest id below another.
local function id_before(id)
    local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
    if sequence ~= '0' then
        return string.format('%s-%.0f', ms, sequence - 1)
    end
    return string.format('%.0f-18446744073709551615', ms - 1)
end

local function pairs_of(flat)
    local found = {}
    for at = 1, #flat, 2 do
        found[flat[at]] = flat[at + 1]
    end
    return found
end

-- Returns the stream's ids and counts; nil if it does not exist.
local function info_of(stream)
    local flat = redis.pcall('XINFO', 'STREAM', stream)
    if flat.err then
        return nil
    end
    local info = pairs_of(flat)
    if not info['entries-added'] then
        error('this Redis is too old: linq-relay needs 7.0 or newer')
    end
    return info
end

-- Returns the state of a group; nil if it does not exist.
local function group_in(stream, group)
    local rows = redis.pcall('XINFO', 'GROUPS', stream)
    for _, flat in ipairs(rows.err and {} or rows) do
        local row = pairs_of(flat)
        if row['name'] == group then
            return row
        end
    end
    return nil
end

-- The most entries that one call of `count_after` may read, if it is set: reading blocks Redis, about 3 us an entry.
local most_counted
-- Counts that the caller has made before: of `stream`, `number` entries after the id `from`, up to the id `to`.
local counted = {}

-- Counts the entries of a stream after an id, up to `last`, in pages.
-- Raises a table with the stream and `wanted`, the id after which the caller must count, if they are too many.
local function count_here(stream, id, last, wanted)
    local count, page = 0, 500
    repeat
        local rows = redis.call('XRANGE', stream, '(' .. id, last, 'COUNT', page)
        count = count + #rows
        id = #rows > 0 and rows[#rows][1] or id
        if most_counted and count > most_counted then
            error({ stream = stream, from = wanted })
        end
    until #rows < page
    return count
end

-- Does the same from the nearest count that the caller has made before, if there is one.
local function count_after(stream, id, last)
    local known
    for _, count in ipairs(last and {} or counted) do
        local covers = count.stream == stream and not is_after(count.from, id) and not is_after(id, count.to)
        if covers and not (known and is_after(known.from, count.from)) then
            known = count
        end
    end
    if known then
        return known.number - count_here(stream, known.from, id, id) + count_here(stream, known.to, '+', id)
    end
    return count_here(stream, id, last or '+', id)
end

-- Returns the deliveries of a stream that have had an attempt and are not settled, as far as the lane knows.
local function tried(lane, stream)
    local ids, seen, prefix = {}, {}, stream .. '|'
    for _, refs in ipairs({ redis.call('HKEYS', lane .. ':tries'), redis.call('ZRANGE', lane .. ':retries', 0, -1) }) do
        for _, ref in ipairs(refs) do
            if string.sub(ref, 1, #prefix) == prefix and not seen[ref] then
                seen[ref] = true
                ids[#ids + 1] = string.sub(ref, #prefix + 1)
            end
        end
    end
    return ids
end

-- Records what a lane got again, or lost: the difference between what it has now and what it is owed.
local function record(lane, stream, surplus)
    if surplus > 0 then
        redis.call('HINCRBY', lane, 'repeated:' .. stream, surplus)
    elseif surplus < 0 then
        redis.call('HINCRBY', lane, 'lost:' .. stream, -surplus)
    end
end

-- Moves a group to an id up to which each entry is settled or was tried: those after it are read again, and of those up
-- to it the tried ones are pending again, with their attempts.
-- Returns the number of entries that the group has now, up to `last`.
local function resume(lane, stream, group, consumer, from, last)
    -- Counted before the first write: it may be too much.
    local unread, added = count_after(stream, from), info_of(stream)['entries-added']
    local given = last and count_after(stream, from, last) or unread
    if not group_in(stream, group) then
        redis.call('XGROUP', 'CREATE', stream, group, from)
    end
    repeat
        local rows, ids = redis.call('XPENDING', stream, group, '(' .. from, '+', 1000), {}
        for at, row in ipairs(rows) do
            ids[at] = row[1]
        end
        if #ids > 0 then
            redis.call('XACK', stream, group, unpack(ids))
        end
    until #rows == 0
    for _, id in ipairs(tried(lane, stream)) do
        local ref = stream .. '|' .. id
        if #redis.call('XRANGE', stream, id, id) == 0 then
            redis.call('HDEL', lane .. ':tries', ref)
            redis.call('ZREM', lane .. ':retries', ref)
            redis.call('XACK', stream, group, id)
        elseif is_after(id, from) then
            redis.call('ZREM', lane .. ':retries', ref)
        else
            redis.call('XCLAIM', stream, group, consumer, 0, id, 'FORCE', 'JUSTID')
        end
    end
    redis.call('XGROUP', 'SETID', stream, group, from, 'ENTRIESREAD', math.max(added - unread, 0))
    return redis.call('XPENDING', stream, group)[1] + given
end
