-- Returns the number of shards that the relay has; at its first start, stores the number that it is started with.
-- KEYS: number of shards, counts
-- ARGV: number of shards that the process is started with
-- If it was lost, the first shard's counts have it. Counts without it are those of a release before shards, which has one.
local stored = redis.call('GET', KEYS[1])
if not stored then
    if redis.call('EXISTS', KEYS[2]) == 1 then
        stored = redis.call('HGET', KEYS[2], 'placed_by') or '1'
    else
        stored = ARGV[1]
        if stored ~= '1' then
            redis.call('HSET', KEYS[2], 'placed_by', stored)
        end
    end
    redis.call('SET', KEYS[1], stored)
end
return stored
