-- The functions that scripts of the dead letters of pull groups share.

local most_letters = 100000 -- of a group, for its writers

-- Moves an event that a member of a group has to the group's dead letters, and acknowledges it.
-- `letter` has the reason, an error and the time (ms); false if the topic no longer has the event, which then is only
-- acknowledged.
local function bury(stream, dead, name, id, deliveries, member, letter)
    local row = redis.call('XRANGE', stream, id, id)[1]
    if row then
        local fields = row[2]
        for _, text in ipairs({
            'dead_at', letter.at, 'dead_reason', letter.reason, 'dead_error', string.sub(letter.error, 1, 500),
            'dead_entry', id, 'dead_deliveries', deliveries, 'dead_member', member
        }) do
            fields[#fields + 1] = text
        end
        redis.call('XADD', dead, 'MAXLEN', '~', most_letters, '*', unpack(fields))
    end
    redis.call('XACK', stream, name, id)
    return row ~= nil
end

-- Counts what became of letters of a group; `id` is `<topic>:<group>`.
local function count_letters(counts, id, what, number)
    redis.call('HSETNX', counts, 'known:' .. id, 1)
    if number > 0 then
        redis.call('HINCRBY', counts, what .. ':' .. id, number)
    end
end
