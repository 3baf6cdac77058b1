-- Returns the number of shards that the relay has; at its first start, stores the number that it is started with.
-- KEYS: number of shards, counts
-- ARGV: number of shards that the process is started with
-- A relay that has counted events without a stored number is of a release before shards: it has one.
local stored = redis.call('GET', KEYS[1])
if not stored then
    stored = redis.call('EXISTS', KEYS[2]) == 1 and '1' or ARGV[1]
    redis.call('SET', KEYS[1], stored)
end
return stored
