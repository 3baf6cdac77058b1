#!lua flags=allow-oom
-- Makes dead letters of events that a member of a pull group has rejected.
-- KEYS: topic stream, places of its pull groups, dead letters of the group
-- ARGV: group, error of the member, now (ms); then for each event its id and the number of deliveries when the member got
--       it
-- An event that was acknowledged, or delivered again since, is left alone; one that the topic no longer has is
-- acknowledged, and left out of what is returned.
-- Returns the ids of the events that became dead letters; nil if there is no such group.
--#include types
--#include pull_group
--#include group_letters
local stream, places, dead = unpack(KEYS)
local name, problem, now = ARGV[1], ARGV[2], ARGV[3]
must_be('stream', stream, dead)
must_be('hash', places)
if not group_of(stream, name) then
    return nil
end
local done = {}
for at = 4, #ARGV, 2 do
    local id = ARGV[at]
    local row = redis.call('XPENDING', stream, name, id, id, 1)[1]
    local member = row and member_of(row[2])
    if member and row[4] == tonumber(ARGV[at + 1]) then
        local letter = { reason = 'rejected', error = problem, at = now }
        if bury(stream, dead, name, id, row[4], member, letter) then
            done[#done + 1] = id
        end
    end
end
save_place(places, stream, name)
return done
