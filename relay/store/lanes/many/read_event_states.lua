#!lua flags=no-writes,allow-oom
-- Reads the immediate state of an event in many lanes: here, since a reply for each command costs more than its work.
-- KEYS: topic stream, lanes
-- ARGV: entry, member of the sets of retries, chat; consumer group of each lane
-- Returns for each lane: 1 if the entry is pending, when its retry is due (ms, or nothing), the dead letter that blocks
-- its chat (or nothing). A key of another type has nothing.
local function value_of(reply)
    if type(reply) == 'table' and reply.err then
        if string.find(reply.err, 'WRONGTYPE', 1, true) or string.find(reply.err, 'NOGROUP', 1, true) then
            return false
        end
        error(reply)
    end
    return reply
end

local stream, entry, retry, chat = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local states = {}
for at = 2, #KEYS do
    local lane = KEYS[at]
    local pending = value_of(redis.pcall('XPENDING', stream, ARGV[at + 2], entry, entry, 1))
    states[at - 1] = {
        pending and #pending > 0 and 1 or 0,
        value_of(redis.pcall('ZSCORE', lane .. ':retries', retry)),
        value_of(redis.pcall('HGET', lane .. ':blocked', chat)),
    }
end
return states
