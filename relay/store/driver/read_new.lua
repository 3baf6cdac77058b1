#!lua flags=allow-oom
-- Reads entries that are new to a consumer group, as the holder of a lease: a worker that lost it must not
-- take entries that its successor would miss.
-- KEYS: lease, streams
-- ARGV: lease token, group, consumer, count of the first stream, room: each further stream gives what the earlier ones have
--       left of it, and at least one
-- Returns the reply of XREADGROUP for each stream that has new entries, or -1 if another worker holds the lease.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return -1
end
local count, room = tonumber(ARGV[4]), tonumber(ARGV[5])
local found, taken = {}, 0
for at = 2, #KEYS do
    local most = at == 2 and count or math.max(room - taken, 1)
    local rows = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', most, 'STREAMS', KEYS[at], '>')
    if rows then
        found[#found + 1] = rows[1]
        taken = taken + #rows[1][2]
    end
end
return found
