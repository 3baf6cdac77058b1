-- Reads entries with a consumer group, as the holder of a lease: one who lost it must not take what the next would miss.
-- KEYS: lease, streams
-- ARGV: lease token, group, consumer, count, '>' for entries that nobody has read or '0' for those that are pending
-- Returns what XREADGROUP does (nothing if there is nothing), or -1 if somebody else holds the lease.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return -1
end
local arguments = { 'XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', ARGV[4], 'STREAMS' }
for at = 2, #KEYS do
    arguments[#arguments + 1] = KEYS[at]
end
for _ = 2, #KEYS do
    arguments[#arguments + 1] = ARGV[5]
end
return redis.call(unpack(arguments))
