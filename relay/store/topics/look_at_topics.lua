#!lua flags=no-writes,allow-oom
-- Looks at many topics, for their retention.
-- KEYS: topic streams
-- Returns for each, flat: its number of entries (-1: its key is of a wrong type), its bytes of Redis's memory, and the time of
-- its oldest entry (ms).
local function look(stream)
    local length = redis.call('XLEN', stream)
    if length == 0 then
        return 0, 0, 0
    end
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    return length, redis.call('MEMORY', 'USAGE', stream), tonumber(string.match(first[1], '^%d+'))
end

local found = {}
for _, stream in ipairs(KEYS) do
    local is_right, entries, bytes, oldest = pcall(look, stream)
    if not is_right then
        entries, bytes, oldest = -1, 0, 0
    end
    for _, value in ipairs({ entries, bytes, oldest }) do
        found[#found + 1] = value
    end
end
return found
