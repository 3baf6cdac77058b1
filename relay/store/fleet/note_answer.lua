#!lua flags=allow-oom
-- Notes that an ingress reaches a shard beside the first one.
-- KEYS: hash of gaps
-- ARGV: now (ms), the time without such a note that is an outage (ms)
--#include types
--#include answered
note_answer(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]))
