#!lua flags=allow-oom
-- Compares the inbox and the quarantine with their counters, and counts what was deleted by hand as lost.
-- KEYS: inbox, quarantine, counts, number of accepted events at the last audit
-- If the counters were lost, they begin with what is there.
-- Returns the number of accepted events now and at the last audit (0 if it is not known), and by how many entries the inbox and the quarantine exceed (or, if negative, fall below) their counters.
--#include types
local inbox, quarantine, counts, audited = unpack(KEYS)
must_be('stream', inbox, quarantine)
must_be('hash', counts)
must_be('string', audited)

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

local accepted, before = number('accepted'), tonumber(redis.call('GET', audited) or 0)
local unrouted = number('accepted') - number('routed') - number('unmatched') - number('poisoned') - number('lost')
local kept = number('quarantined') - number('quarantine_dropped') - number('quarantine_retried')
local of_inbox = settle(redis.call('XLEN', inbox) - unrouted, 'accepted', 'lost')
local of_quarantine = settle(redis.call('XLEN', quarantine) - kept, 'quarantined', 'quarantine_dropped')
redis.call('SET', audited, number('accepted'))
return { accepted, before, of_inbox, of_quarantine }
