#!lua flags=allow-oom
-- Acquires or renews a lease, and with it arq's own lock on the job, so that both end soon after the last renewal.
-- KEYS: lease, arq's lock
-- ARGV: token, length (ms), length of arq's lock (ms)
-- Returns 1 if the caller holds the lease now, 0 if another worker does.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
return 1
