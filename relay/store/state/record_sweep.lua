#!lua flags=allow-oom
-- Records that a sweep has ended, also while Redis is at `maxmemory`.
-- KEYS: maintenance
-- ARGV: now (ms)
--#include types
must_be('hash', KEYS[1])
return redis.call('HSET', KEYS[1], 'swept_at', ARGV[1])
