#!lua flags=allow-oom
-- Records STOPs and STARTs; of two changes of a handle, the newer one counts, in whatever order they are recorded.
-- KEYS: lease, lines with opt-outs; then per change: opt-outs of the line, opt-ins of the line
-- ARGV: lease token, lifetime of opt-ins (ms), most opt-ins; then per change: line, handle, stop or start, time (ms)
-- Returns 0, or -1 if another worker holds the lease.
--#include types
local lease, lines = KEYS[1], KEYS[2]
local token, lifetime, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local first_key, first, width = 3, 4, 4
local holder = redis.call('GET', lease)
if holder and holder ~= token then
    return -1
end
must_be('set', lines)
for key = first_key, #KEYS do
    must_be('zset', KEYS[key])
end
for at = first, #ARGV, width do
    local line, handle, kind, moment = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local key = first_key + (at - first) / width * 2
    local outs, ins = KEYS[key], KEYS[key + 1]
    local out = tonumber(redis.call('ZSCORE', outs, handle) or nil)
    local back = tonumber(redis.call('ZSCORE', ins, handle) or nil)
    if kind == 'stop' and not (back and back >= moment) then
        if not out or moment > out then
            redis.call('ZADD', outs, ARGV[at + 3], handle)
        end
        redis.call('ZREM', ins, handle)
        redis.call('SADD', lines, line)
    elseif kind == 'start' and out and moment >= out then
        redis.call('ZREM', outs, handle)
        redis.call('ZADD', ins, ARGV[at + 3], handle)
        redis.call('ZREMRANGEBYRANK', ins, 0, -1 - most)
        redis.call('PEXPIRE', ins, lifetime)
    elseif kind == 'start' and back and moment > back then
        redis.call('ZADD', ins, ARGV[at + 3], handle)
    end
end
return 0
