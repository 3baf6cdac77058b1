#!lua flags=allow-oom
-- Forgets backfilled messages by age, a part of them at a time.
-- KEYS: backfilled messages
-- ARGV: cursor of the part, the hour before which they are forgotten
-- Returns the cursor of the next part, `0` at the end, and the number that is forgotten.
--#include types
must_be('hash', KEYS[1])
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', 1000)
local forgotten = 0
for at = 1, #page[2], 2 do
    local hour = tonumber(string.match(page[2][at + 1], '^(%d+):'))
    if not hour or hour < tonumber(ARGV[2]) then
        forgotten = forgotten + redis.call('HDEL', KEYS[1], page[2][at])
    end
end
return { page[1], forgotten }
