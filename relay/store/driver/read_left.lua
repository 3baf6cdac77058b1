#!lua flags=allow-oom
-- Reads entries of a topic that the lane has left, up to the last one it still owes, as the holder of a lease.
-- KEYS: lease, stream
-- ARGV: lease token, group, consumer, count, last id that is owed
-- Returns the reply of XREADGROUP (false if there are no entries), or -1 if another worker holds the lease.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return -1
end
local stream, group = KEYS[2], ARGV[2]
local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then
    return false
end
for _, found in ipairs(groups) do
    local read_up_to = nil
    for at = 1, #found, 2 do
        if found[at] == 'last-delivered-id' then
            read_up_to = found[at + 1]
        end
    end
    if found[2] == group then
        local owed = #redis.call('XRANGE', stream, '(' .. read_up_to, ARGV[5], 'COUNT', ARGV[4])
        if owed > 0 then
            return redis.call('XREADGROUP', 'GROUP', group, ARGV[3], 'COUNT', owed, 'STREAMS', stream, '>')
        end
    end
end
return false
