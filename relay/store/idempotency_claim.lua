#!lua
-- Claims the Idempotency-Key of a request, and forgets the oldest answers of its holder beyond a number.
-- KEYS: record, keys of the holder's records by time
-- ARGV: record, lifetime of the claim (ms), lifetime of an answer (ms), most records of a holder
-- Returns the record that there is already, or false.
--#include types
must_be('string', KEYS[1])
must_be('zset', KEYS[2])
local found = redis.call('GET', KEYS[1])
if found then
    return found
end
local now = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now[1] * 1000000 + now[2], KEYS[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local surplus = math.min(redis.call('ZCARD', KEYS[2]) - ARGV[4], 1000)
if surplus > 0 then
    redis.call('DEL', unpack(redis.call('ZRANGE', KEYS[2], 0, surplus - 1)))
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, surplus - 1)
end
return false
