-- Starts the part of a replay on a shard, unless it was started before.
-- KEYS: replay, ids of running replays, replays by their start
-- ARGV: id, start (ms), how many are remembered; then the fields of the replay.
-- Returns 1 if it is new, else 0.
--#include types
local replay, running, replays = unpack(KEYS)
must_be('hash', replay)
must_be('set', running)
must_be('zset', replays)
if redis.call('EXISTS', replay) == 1 then
    return 0
end
redis.call('HSET', replay, unpack(ARGV, 4))
redis.call('SADD', running, ARGV[1])
redis.call('ZADD', replays, ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', replays, 0, -ARGV[3] - 1)
return 1
