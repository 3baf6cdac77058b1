#!lua flags=allow-oom
-- Sets the mark of the preparation, also when Redis is at `maxmemory`: without the mark no event can be routed.
-- KEYS: prepared
-- ARGV: preparation
redis.call('SET', KEYS[1], ARGV[1])
