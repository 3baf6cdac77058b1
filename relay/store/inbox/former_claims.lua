#!lua flags=allow-oom
-- Looks for claims on the ids of events that have moved to another shard, and counts the repeats.
-- KEYS: counts
-- ARGV: prefix of the dedupe keys, now (ms); then per event: id, claim on the id
-- Returns per event 1 if it is a duplicate, 0 if its id is free, or claimed by other events only.
--#include types
--#include claim
must_be('hash', KEYS[1])
local results, repeats = {}, 0
for at = 3, #ARGV, 2 do
    local key, result = ARGV[1] .. ARGV[at], 0
    local seen = redis.pcall('GET', key)
    if type(seen) == 'string' and has_claim(seen, ARGV[at + 1]) then
        note_repeat(key, seen, ARGV[2])
        repeats, result = repeats + 1, 1
    end
    results[#results + 1] = result
end
if repeats > 0 then
    redis.call('HINCRBY', KEYS[1], 'duplicate', repeats)
end
return results
