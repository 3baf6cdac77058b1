-- Accepts a batch of verified webhooks: appends each new event to the inbox, and wakes the router.
-- KEYS: inbox, counts, arq queue
-- ARGV: prefix of the dedupe keys, dedupe window (ms), now (ms), wakeup: job id, payload, lifetime (ms), number of shards by
--       which the events were placed; then per event: id, type, dialect, webhook id, line, body, claim on the id, generation of the secret and address
-- Returns per event 1 if it is new, 0 if it is a duplicate, 2 if it is new though another event has claimed its id; or, if
-- events are placed by another number here, that number, and nothing is accepted.
--#include wake
--#include types
--#include placed
--#include claim
local inbox, counts, queue = KEYS[1], KEYS[2], KEYS[3]
local other = placed_by_other(counts, ARGV[7])
if other then
    return other
end
must_be('stream', inbox)
must_be('zset', queue)
local prefix, window, now = ARGV[1], ARGV[2], ARGV[3]
local first, width = 8, 8
local results, count_of = {}, { [0] = 0, 0, 0 }
for at = first, #ARGV, width do
    local id = ARGV[at]
    local result, seen = claim_id(prefix .. id, ARGV[at + 6], window)
    if result > 0 then
        redis.call('XADD', inbox, '*', 'id', id, 'type', ARGV[at + 1], 'dialect', ARGV[at + 2],
            'webhook_id', ARGV[at + 3], 'line', ARGV[at + 4], 'at', now, 'via', ARGV[at + 7], 'body', ARGV[at + 5])
    else
        note_repeat(prefix .. id, seen, now)
    end
    count_of[result] = count_of[result] + 1
    results[#results + 1] = result
end
local repeats, conflicts = count_of[0], count_of[2]
local accepted = count_of[1] + conflicts
if accepted > 0 then
    redis.call('HINCRBY', counts, 'accepted', accepted)
    wake_up(queue, ARGV[4], ARGV[5], ARGV[6], 1)
end
if repeats > 0 then
    redis.call('HINCRBY', counts, 'duplicate', repeats)
end
if conflicts > 0 then
    redis.call('HINCRBY', counts, 'id_conflict', conflicts)
end
return results
