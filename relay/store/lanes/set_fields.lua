#!lua flags=allow-oom
-- Sets fields of a hash, also while Redis is at `maxmemory`: the state of a lane must not wait for memory.
-- KEYS: hash
-- ARGV: fields and values
--#include types
must_be('hash', KEYS[1])
return redis.call('HSET', KEYS[1], unpack(ARGV))
