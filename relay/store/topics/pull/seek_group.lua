-- Moves a consumer group of a topic to another position.
-- KEYS: topic stream, places of its pull groups
-- ARGV: group, id after which it resumes, number of entries ever added up to that id
-- Pending entries beyond that position are acknowledged: they are read again as new, and must not be claimed as well.
-- Returns the number of acknowledged entries.
--#include types
--#include pull_group
local stream, places = unpack(KEYS)
local group, after = ARGV[1], ARGV[2]
must_be('stream', stream)
must_be('hash', places)
local acknowledged = 0
while true do
    local rows = redis.call('XPENDING', stream, group, '(' .. after, '+', 1000)
    if #rows == 0 then
        break
    end
    local ids = {}
    for at, row in ipairs(rows) do
        ids[at] = row[1]
    end
    acknowledged = acknowledged + redis.call('XACK', stream, group, unpack(ids))
end
redis.call('XGROUP', 'SETID', stream, group, after, 'ENTRIESREAD', ARGV[3])
save_place(places, stream, group)
return acknowledged
