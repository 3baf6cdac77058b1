#!lua flags=allow-oom
-- Extends the visibility timeout of events that a member of a pull group has, or hands them back.
-- KEYS: topic stream
-- ARGV: group, new visibility timeout (ms; 0: hand them back), consumer of returned ones, idle time of returned ones
--       (ms), 1 if the deliveries of those that are handed back do not count, then for each event its id and the number of
--       deliveries when the member got it
-- An event that was acknowledged, or delivered again since, is left alone.
-- Returns the ids of the events that were extended or handed back; nil if there is no such group.
--#include types
--#include pull_group
local stream = KEYS[1]
local name, visibility, returned, returned_idle = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
must_be('stream', stream)
if not group_of(stream, name) then
    return nil
end
local done = {}
for at = 6, #ARGV, 2 do
    local id = ARGV[at]
    local row = redis.call('XPENDING', stream, name, id, id, 1)[1]
    local member = row and member_of(row[2])
    if member and row[4] == tonumber(ARGV[at + 1]) then
        local consumer, idle, count = returned, returned_idle, ARGV[5] == '1' and row[4] - 1 or row[4]
        if visibility > 0 then
            consumer, idle = string.format('relay:http:%.0f:%s', visibility, member), 0
        end
        local claimed = redis.call('XCLAIM', stream, name, consumer, 0, id, 'IDLE', idle, 'RETRYCOUNT', count, 'JUSTID')
        done[#done + 1] = claimed[1]
    end
end
return done
