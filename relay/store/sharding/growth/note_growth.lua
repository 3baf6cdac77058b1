-- Notes the number of shards to which the relay is to grow.
-- KEYS: number of shards, growth, opened lanes
-- ARGV: number in use, target, now (ms)
-- Returns 1; or 0 if another number is in use, or another growth is not done.
--#include types
must_be('hash', KEYS[2], KEYS[3])
if (redis.call('GET', KEYS[1]) or ARGV[1]) ~= ARGV[1] then
    return 0
end
local target = redis.call('HGET', KEYS[2], 'target')
if target and redis.call('HEXISTS', KEYS[2], 'done') == 0 then
    return target == ARGV[2] and 1 or 0
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[2], 'former', ARGV[1], 'target', ARGV[2], 'noted', ARGV[3])
return 1
