#!lua flags=allow-oom
-- Records names of topics, also when Redis is at `maxmemory`: the router does so before it routes.
-- KEYS: topics
-- ARGV: names
--#include types
must_be('set', KEYS[1])
redis.call('SADD', KEYS[1], unpack(ARGV))
