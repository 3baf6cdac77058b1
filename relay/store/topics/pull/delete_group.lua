#!lua flags=allow-oom
-- Deletes a pull group of a topic, with the place where it would resume, and on request with its dead letters.
-- KEYS: topic stream, places of its pull groups, dead letters of the group, counters of all groups' dead letters
-- ARGV: group, `<topic>:<group>`, 1 to delete its dead letters
-- Returns 1 if there was such a group (else 0), and the number of deleted dead letters.
--#include types
--#include group_letters
local stream, places, dead, counts = unpack(KEYS)
local name, id = ARGV[1], ARGV[2]
must_be('stream', stream, dead)
must_be('hash', places, counts)
redis.call('HDEL', places, name)
local existed = redis.call('EXISTS', stream) == 1 and redis.call('XGROUP', 'DESTROY', stream, name) or 0
local letters = redis.call('XLEN', dead)
if ARGV[3] == '1' then
    redis.call('UNLINK', dead)
    for _, what in ipairs({ 'known', 'replayed', 'dropped', 'discarded', 'alarm' }) do
        redis.call('HDEL', counts, what .. ':' .. id)
    end
    return { existed, letters }
end
if letters > 0 then
    count_letters(counts, id, 'dropped', 0) -- they are found without the group
end
return { existed, 0 }
