-- Makes the target of a growth the number of shards in use.
-- KEYS: number of shards, growth
-- ARGV: former number, target, now (ms)
-- Returns 1, also if it was decided before; 0 if it is another growth.
local growth = redis.call('HMGET', KEYS[2], 'former', 'target')
if growth[1] ~= ARGV[1] or growth[2] ~= ARGV[2] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSETNX', KEYS[2], 'decided', ARGV[3])
return 1
