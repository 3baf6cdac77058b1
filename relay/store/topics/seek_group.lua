-- Moves a consumer group of a topic to another place.
-- KEYS: topic stream
-- ARGV: group, id after which it goes on, how many entries the stream has ever had up to there
-- What is pending beyond that place is acknowledged: it is read again as new, and must not be claimed as well.
-- Returns how many entries were.
local stream, group, after = KEYS[1], ARGV[1], ARGV[2]
local acknowledged = 0
while true do
    local rows = redis.call('XPENDING', stream, group, '(' .. after, '+', 1000)
    if #rows == 0 then
        break
    end
    local ids = {}
    for at, row in ipairs(rows) do
        ids[at] = row[1]
    end
    acknowledged = acknowledged + redis.call('XACK', stream, group, unpack(ids))
end
redis.call('XGROUP', 'SETID', stream, group, after, 'ENTRIESREAD', ARGV[3])
return acknowledged
