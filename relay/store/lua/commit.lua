-- Moves a batch of inbox entries into their topics, in one step: acknowledged, deleted, appended, counted, lanes woken.
-- KEYS: inbox, counts, unmatched, aside, topics, lanes, arq queue, lease
-- ARGV: lease token, inbox group, now (ms), bell lifetime (ms), plan (JSON):
--         {topics: [{name, stream, lanes: [lane position]}], lanes: [{name, ready, job, payload}]}
--       then per event: entry id, event type, n, n times a topic's position in the plan (from 1), m, m fields and values.
--       n is -1 for an entry that cannot be understood: it is set aside.
-- Returns how many entries were moved, or -1 if somebody else holds the lease and the caller must not move any.
--#include ring
local inbox, counts, unmatched, aside, topics, lanes, queue, lease = unpack(KEYS)
local token, group, now, lifetime = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local holder = redis.call('GET', lease)
if holder and holder ~= token then
    return -1
end
local plan = cjson.decode(ARGV[5])
local moved, routed, nowhere, odd = 0, 0, 0, 0
local fed = {}
local at = 6
while at <= #ARGV do
    local entry, event_type, n = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
    local first = at + 3
    local m = tonumber(ARGV[first + math.max(n, 0)])
    local fields = first + math.max(n, 0) + 1
    at = fields + m
    -- An entry that was already acknowledged was moved by somebody else, whole.
    if redis.call('XACK', inbox, group, entry) == 1 then
        redis.call('XDEL', inbox, entry)
        moved = moved + 1
        if n == -1 then
            redis.call('XADD', aside, '*', unpack(ARGV, fields, at - 1))
            odd = odd + 1
        elseif n == 0 then
            redis.call('HINCRBY', unmatched, event_type, 1)
            nowhere = nowhere + 1
        else
            for position = first, first + n - 1 do
                local topic = tonumber(ARGV[position])
                redis.call('XADD', plan.topics[topic].stream, '*', unpack(ARGV, fields, at - 1))
                fed[topic] = true
            end
            routed = routed + 1
        end
    end
end
for topic in pairs(fed) do
    redis.call('SADD', topics, plan.topics[topic].name)
    for _, position in ipairs(plan.topics[topic].lanes) do
        local lane = plan.lanes[position]
        redis.call('SADD', lanes, lane.name)
        redis.call('ZADD', lane.ready, 'NX', now, lane.name)
        ring(queue, lane.job, lane.payload, lifetime, 1)
    end
end
for name, count in pairs({ routed = routed, unmatched = nowhere, aside = odd, poisoned = odd }) do
    if count > 0 then
        redis.call('HINCRBY', counts, name, count)
    end
end
return moved
