#!lua flags=allow-oom
-- Enqueues one wake-up.
-- KEYS: arq queue
-- ARGV: job id, payload, lifetime (ms), due (ms)
--#include wake
wake_up(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
