#!lua flags=no-writes,allow-oom
-- Looks at the logs of many lanes, for their retention: attempts with their answers, and dead letters.
-- KEYS: lanes
-- Returns for each lane that has any, flat: its number (from 1), the time of its oldest attempt or answer (ms; -1: none), the
-- number of its dead letters, and the times of the oldest and of the newest of them; with -2 as the first time, a key of it is
-- of a wrong type.
local function time_of(entry)
    return entry and tonumber(string.match(entry[1], '^%d+')) or -1
end

local function oldest(stream)
    return time_of(redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1])
end

local function look(lane)
    local attempt, answer = oldest(lane .. ':attempts'), oldest(lane .. ':answers')
    local first = answer >= 0 and (attempt < 0 or answer < attempt) and answer or attempt
    local dead = lane .. ':dead'
    local letters = redis.call('XLEN', dead)
    if letters == 0 then
        return first, 0, -1, -1
    end
    return first, letters, oldest(dead), time_of(redis.call('XREVRANGE', dead, '+', '-', 'COUNT', 1)[1])
end

local found = {}
for at, lane in ipairs(KEYS) do
    local is_right, first, letters, old, new = pcall(look, lane)
    if not is_right then
        first, letters, old, new = -2, 0, -1, -1
    end
    if first ~= -1 or letters > 0 then
        for _, value in ipairs({ at, first, letters, old, new }) do
            found[#found + 1] = value
        end
    end
end
return found
