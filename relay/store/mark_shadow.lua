#!lua flags=allow-oom
-- Marks a lane as a shadow, also while Redis is at `maxmemory`.
-- KEYS: marks
-- ARGV: name of the lane, its mark
--#include types
must_be('hash', KEYS[1])
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
