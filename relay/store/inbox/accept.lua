-- Accepts a batch of verified webhooks: appends each new event to the inbox of its shard, and wakes the router there.
-- Several shards come here together if they share a server that is no cluster (`sharding.shards.by_server`).
-- KEYS: per shard: inbox, counts, arq queue
-- ARGV: dedupe window (ms), now (ms), lifetime of a wakeup (ms), number of shards by which the events were placed; then
--       per shard: prefix of the dedupe keys, wakeup: job id, payload, number of its events, at least one; then per event: id,
--       type, dialect, webhook id, line, body, claim on the id, generation of the secret and address
-- Returns per shard a list with 1 for an event that is new, 0 for a duplicate, 2 for one that is new though another event has
-- claimed its id. Or, if events are placed by another number there, that number, and nothing is accepted; or, beside other
-- shards, the error of one that has a key of a wrong type.
--#include wake
--#include types
--#include placed
--#include claim
local window, now, lifetime, placed_by = unpack(ARGV, 1, 4)
local width = 8

local function accept(inbox, counts, queue, prefix, job, payload, first, last)
    local other = placed_by_other(counts, placed_by)
    if other then
        return other
    end
    must_be('stream', inbox)
    must_be('zset', queue)
    local results, count_of = {}, { [0] = 0, 0, 0 }
    for at = first, last, width do
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
        wake_up(queue, job, payload, lifetime, 1)
    end
    if repeats > 0 then
        redis.call('HINCRBY', counts, 'duplicate', repeats)
    end
    if conflicts > 0 then
        redis.call('HINCRBY', counts, 'id_conflict', conflicts)
    end
    return results
end

-- Any other error than that of a key concerns the whole server, and is that of all.
local function accept_beside_others(...)
    local ok, outcome = pcall(accept, ...)
    if ok then
        return outcome
    end
    local text = type(outcome) == 'table' and outcome.err or tostring(outcome)
    if not string.find(text, 'WRONGTYPE', 1, true) then
        error(outcome)
    end
    return text
end

local replies, key, at = {}, 1, 5
while at <= #ARGV do
    local prefix, job, payload = unpack(ARGV, at, at + 2)
    local first, last = at + 4, at + 3 + width * ARGV[at + 3]
    local take = at == 5 and last == #ARGV and accept or accept_beside_others
    replies[#replies + 1] = take(KEYS[key], KEYS[key + 1], KEYS[key + 2], prefix, job, payload, first, last)
    key, at = key + 3, last + 1
end
return replies
