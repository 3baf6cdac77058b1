#!lua flags=allow-oom
-- Reports a process, forgets those that are silent, and returns the orders to drain.
-- KEYS: hash of processes, hash of orders, hash of gaps
-- ARGV: id of the process, its report, silence before which a report is forgotten (Unix ms), 1 if it looks at the others,
--       now (ms) if it accepts webhooks, else empty, the time without such a report that is an outage (ms)
--#include types
--#include answered
must_be('hash', KEYS[1])
must_be('hash', KEYS[2])
if ARGV[5] ~= '' then
    note_answer(KEYS[3], tonumber(ARGV[5]), tonumber(ARGV[6]))
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[4] == '1' then
    local rows = redis.call('HGETALL', KEYS[1])
    for n = 1, #rows, 2 do
        local ok, report = pcall(cjson.decode, rows[n + 1])
        if not ok or type(report) ~= 'table' or (tonumber(report['at_ms']) or 0) < tonumber(ARGV[3]) then
            redis.call('HDEL', KEYS[1], rows[n])
        end
    end
end
return redis.call('HGETALL', KEYS[2])
