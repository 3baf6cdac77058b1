#!lua flags=allow-oom
-- Notes account events for the job that reacts to them, and wakes it. The stream is small, whatever the memory.
-- KEYS: stream, arq queue
-- ARGV: job id, payload, lifetime (ms), due (ms), most entries; then type, line, time (ms) and subject of each event
--#include types
--#include wake
must_be('stream', KEYS[1])
must_be('zset', KEYS[2])
for at = 6, #ARGV, 4 do
    redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[5], '*', 'type', ARGV[at], 'line', ARGV[at + 1], 'at', ARGV[at + 2],
        'about', ARGV[at + 3])
end
wake_up(KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
