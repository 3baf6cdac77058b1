#!lua flags=no-writes,allow-oom
-- Finds the first entry of many streams: here, since neither the entries nor a reply for each need travel.
-- KEYS: streams
-- ARGV: 1 if the newest is the first, first id, last id
-- Returns the id of the first entry of each stream; empty if it has none, or is of another type.
local newest_first, low, high = ARGV[1] == '1', ARGV[2], ARGV[3]
local found = {}
for at, stream in ipairs(KEYS) do
    local rows
    if newest_first then
        rows = redis.pcall('XREVRANGE', stream, high, low, 'COUNT', 1)
    else
        rows = redis.pcall('XRANGE', stream, low, high, 'COUNT', 1)
    end
    if rows.err and not string.find(rows.err, 'WRONGTYPE', 1, true) then
        return rows
    end
    found[at] = rows[1] and rows[1][1] or ''
end
return found
