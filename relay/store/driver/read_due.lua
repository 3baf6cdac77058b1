#!lua flags=allow-oom
-- Takes the retries of a lane that are due, the longest due first, as the holder of its partition's lease.
-- KEYS: lease, retries
-- ARGV: lease token, now (ms), count
-- Returns their members, or -1 if another worker holds the lease.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return -1
end
local members = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
if #members > 0 then
    redis.call('ZREM', KEYS[2], unpack(members))
end
return members
