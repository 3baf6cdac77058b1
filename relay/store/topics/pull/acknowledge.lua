#!lua flags=allow-oom
-- Acknowledges events of a pull group: by their ids, or those of runs that a member still has.
-- KEYS: topic stream, places of its pull groups
-- ARGV: group, then either `ids` and the ids, or `runs`, the member, and for each run its first id (`-`: all up to the
--       last), its last id, and the number of deliveries when the member got it (empty: any): an event that was delivered
--       again since came with another answer, which may be lost
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

local function acknowledge_run(holder, first, last, deliveries)
    local rows
    repeat
        local ids = {}
        rows = redis.call('XPENDING', stream, name, first, last, 1000, holder)
        for _, row in ipairs(rows) do
            first = '(' .. row[1]
            if not deliveries or row[4] == deliveries then
                ids[#ids + 1] = row[1]
            end
        end
        if #ids > 0 then
            acknowledged = acknowledged + redis.call('XACK', stream, name, unpack(ids))
        end
    until #rows < 1000
end

if form == 'ids' then
    acknowledged = redis.call('XACK', stream, name, unpack(ARGV, 3))
elseif group['pending'] > 0 then
    for _, holder in ipairs(redis.call('XPENDING', stream, name)[4]) do
        if member_of(holder[1]) == ARGV[3] then
            for at = 4, #ARGV, 3 do
                acknowledge_run(holder[1], ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]))
            end
        end
    end
end
if acknowledged > 0 then
    save_place(places, stream, name)
end
return acknowledged
