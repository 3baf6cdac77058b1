#!lua flags=no-writes,allow-oom
-- Reads what lists of subscriptions show of many lanes: here, since a reply for each command costs more than its work.
-- KEYS: lanes
-- ARGV: most attempts of each
-- Returns for each lane its fields, its numbers of retries, dead letters and blocked chats, and its latest attempts;
-- or nothing, if a key of it is of another type.
local found = {}
for at, lane in ipairs(KEYS) do
    local replies = {
        redis.pcall('HGETALL', lane),
        redis.pcall('ZCARD', lane .. ':retries'),
        redis.pcall('XLEN', lane .. ':dead'),
        redis.pcall('HLEN', lane .. ':blocked'),
        redis.pcall('XREVRANGE', lane .. ':attempts', '+', '-', 'COUNT', ARGV[1]),
    }
    for _, reply in ipairs(replies) do
        if type(reply) == 'table' and reply.err then
            if not string.find(reply.err, 'WRONGTYPE', 1, true) then
                return reply
            end
            replies = {}
            break
        end
    end
    found[at] = replies
end
return found
