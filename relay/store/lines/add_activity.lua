#!lua
-- Adds the events of lines to their hours, and sets the times of their last events.
-- KEYS: hash of the last events, then the week of each count
-- ARGV: lifetime of a week (s), number of counts, then for each its hour of the week and its events; names and times of last events
-- A key of a wrong type costs only what it would have got: its error is returned after the other writes.
local lifetime, counts = ARGV[1], tonumber(ARGV[2])
local failure
for number = 1, counts do
    local week, at = KEYS[number + 1], 1 + 2 * number
    local added = redis.pcall('BITFIELD', week, 'OVERFLOW', 'SAT', 'INCRBY', 'u32', '#' .. ARGV[at], ARGV[at + 1])
    if added.err then
        failure = added
    else
        redis.call('EXPIRE', week, lifetime)
    end
end
local set = redis.pcall('HSET', KEYS[1], unpack(ARGV, 3 + 2 * counts))
return type(set) == 'table' and set or failure
