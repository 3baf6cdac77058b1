#!lua flags=allow-oom
-- Acknowledges events of a pull group: by their ids, or all of a member's up to one.
-- KEYS: topic stream, places of its pull groups
-- ARGV: group, then either `ids` and the ids, or `up_to`, the member and the last id
-- Returns the number of events that were pending and no longer are; -1 if there is no such group.
--#include types
--#include pull_group
local stream, places = unpack(KEYS)
local name, form = ARGV[1], ARGV[2]
must_be('stream', stream)
must_be('hash', places)
local group = group_of(stream, name)
if not group then
    return -1
end
local acknowledged = 0
if form == 'ids' then
    acknowledged = redis.call('XACK', stream, name, unpack(ARGV, 3))
elseif group['pending'] > 0 then
    for _, holder in ipairs(redis.call('XPENDING', stream, name)[4]) do
        while member_of(holder[1]) == ARGV[3] do
            local ids = {}
            for at, row in ipairs(redis.call('XPENDING', stream, name, '-', ARGV[4], 1000, holder[1])) do
                ids[at] = row[1]
            end
            if #ids == 0 then
                break
            end
            acknowledged = acknowledged + redis.call('XACK', stream, name, unpack(ids))
        end
    end
end
if acknowledged > 0 then
    save_place(places, stream, name)
end
return acknowledged
