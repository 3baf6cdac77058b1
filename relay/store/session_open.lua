#!lua flags=allow-oom
-- Opens a session of the page, and ends the oldest ones of its token beyond a number.
-- KEYS: session, sessions of the token
-- ARGV: token, digest of its secret or empty, lifetime (s), most sessions of a token
--#include types
must_be('hash', KEYS[1])
must_be('zset', KEYS[2])
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'digest', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('ZADD', KEYS[2], now[1] * 1000000 + now[2], KEYS[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
local surplus = redis.call('ZCARD', KEYS[2]) - ARGV[4]
if surplus > 0 then
    redis.call('DEL', unpack(redis.call('ZRANGE', KEYS[2], 0, surplus - 1)))
    redis.call('ZREMRANGEBYRANK', KEYS[2], 0, surplus - 1)
end
return true
