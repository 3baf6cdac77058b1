#!lua flags=allow-oom
-- Rings one wakeup.
-- KEYS: arq queue
-- ARGV: job id, payload, lifetime (ms), due (ms)
--#include wake
ring(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
