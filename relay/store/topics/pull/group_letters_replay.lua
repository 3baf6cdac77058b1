#!lua flags=allow-oom
-- Gives dead letters back to their pull group, and to no other: their events become pending in it again, as events that
-- were handed back, with no delivery counted.
-- KEYS: topic stream, places of its pull groups, dead letters of the group, counters of all groups' dead letters
-- ARGV: group, `<topic>:<group>`, consumer of returned events, their idle time (ms); then ids of dead letters
-- An event after the group's position is read by it anyway, one that is pending already too: its letter is only removed.
-- A letter whose event the topic no longer has stays.
-- Returns the number of replayed letters, then the ids of those that stay; nil if there is no such group.
--#include types
--#include pull_group
--#include group_letters
local stream, places, dead, counts = unpack(KEYS)
local name, id, returned, returned_idle = unpack(ARGV, 1, 4)
must_be('stream', stream, dead)
must_be('hash', places, counts)
local group = group_of(stream, name)
if not group then
    return nil
end
local result = { 0 }
for at = 5, #ARGV do
    local letter = redis.call('XRANGE', dead, ARGV[at], ARGV[at])[1]
    local entry = letter and table_of(letter[2])['dead_entry'] or ''
    local is_id = string.match(entry, '^%d+%-%d+$')
    local is_kept = is_id and #redis.call('XRANGE', stream, entry, entry) > 0
    if is_kept then
        local is_ahead = is_before(group['last-delivered-id'], entry)
        if not is_ahead and #redis.call('XPENDING', stream, name, entry, entry, 1) == 0 then
            local options = { 'IDLE', returned_idle, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID' }
            redis.call('XCLAIM', stream, name, returned, 0, entry, unpack(options))
        end
        redis.call('XDEL', dead, ARGV[at])
        result[1] = result[1] + 1
    elseif letter then
        result[#result + 1] = ARGV[at]
    end
end
if result[1] > 0 then
    count_letters(counts, id, 'replayed', result[1])
    save_place(places, stream, name)
end
return result
