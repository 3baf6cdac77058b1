#!lua flags=allow-oom
-- Compares the inbox and the quarantine with their counters, and counts what was deleted by hand as lost.
-- KEYS: inbox, quarantine, counts
-- If the counters were lost, they begin with what is there.
-- Returns by how many entries the inbox and the quarantine exceed (or, if negative, fall below) their counters.
--#include types
local inbox, quarantine, counts = KEYS[1], KEYS[2], KEYS[3]
must_be('stream', inbox, quarantine)
must_be('hash', counts)

local function number(field)
    return tonumber(redis.call('HGET', counts, field) or 0)
end

local function settle(surplus, more, fewer)
    if surplus > 0 then
        redis.call('HINCRBY', counts, more, surplus)
    elseif surplus < 0 then
        redis.call('HINCRBY', counts, fewer, -surplus)
    end
    return surplus
end

local unrouted = number('accepted') - number('routed') - number('unmatched') - number('poisoned') - number('lost')
local kept = number('quarantined') - number('quarantine_dropped') - number('quarantine_retried')
return {
    settle(redis.call('XLEN', inbox) - unrouted, 'accepted', 'lost'),
    settle(redis.call('XLEN', quarantine) - kept, 'quarantined', 'quarantine_dropped'),
}
