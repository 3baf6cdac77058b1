-- Moves quarantined bodies to the inbox, now that they can be parsed, and wakes the router.
-- KEYS: quarantine, inbox, counts, arq queue
-- ARGV: prefix of the dedupe keys, dedupe window (ms), now (ms), wakeup: job id, payload, lifetime (ms), number of shards by
--       which the events were placed; then per body: id of its entry, event id, event type, claim on the event id
-- An event that was accepted before it was quarantined is in no topic, though it is marked as seen; it is not counted twice.
-- Returns the numbers of accepted events and of duplicates; or, if events are placed by another number of shards here, that
-- number, and nothing is moved.
--#include wake
--#include types
--#include placed
--#include claim
local quarantine, inbox, counts, queue = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local other = placed_by_other(counts, ARGV[7])
if other then
    return other
end
must_be('stream', quarantine, inbox)
must_be('zset', queue)
local prefix, window, now = ARGV[1], ARGV[2], ARGV[3]
local first, width = 8, 4
local accepted, again, repeats, conflicts, retried = 0, 0, 0, 0, 0
for at = first, #ARGV, width do
    local entry, id = ARGV[at], ARGV[at + 1]
    local row = redis.call('XRANGE', quarantine, entry, entry)[1]
    if row then
        local had = {}
        for n = 1, #row[2], 2 do
            had[row[2][n]] = row[2][n + 1]
        end
        local webhook_id = had.webhook_id ~= '' and had.webhook_id or id
        local claimed = claim_id(prefix .. id, ARGV[at + 3], window)
        if claimed > 0 or had.webhook_id then
            redis.call('XADD', inbox, '*', 'id', id, 'type', ARGV[at + 2], 'dialect', had.dialect,
                'webhook_id', webhook_id, 'line', had.line, 'at', now, 'via', had.via or '',
                'source', had.source or '', 'body', had.body)
        end
        if had.webhook_id then
            again = again + 1
        elseif claimed > 0 then
            accepted = accepted + 1
            conflicts = conflicts + (claimed == 2 and 1 or 0)
        else
            repeats = repeats + 1
        end
        retried = retried + redis.call('XDEL', quarantine, entry)
    end
end
for name, count in pairs({ accepted = accepted, duplicate = repeats, id_conflict = conflicts, poisoned = -again,
    quarantine_retried = retried }) do
    if count ~= 0 then
        redis.call('HINCRBY', counts, name, count)
    end
end
if accepted + again > 0 then
    wake_up(queue, ARGV[4], ARGV[5], ARGV[6], 1)
end
return { accepted + again, repeats }
