#!lua flags=no-writes,allow-oom
-- Searches a page of each of many streams, until as many entries were read as a page has: of many short streams, the
-- round trips would cost more than the reading.
-- KEYS: streams
-- ARGV: `on`, id at which it begins (with a leading parenthesis: after it), id at which it ends, most entries to read,
--       most to find in each; then the conditions.
-- Returns for each stream that there was time for the same as a search of one stream; nothing for one of a wrong type.
--#include search
local page, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local replies, read = {}, 0
for at, stream in ipairs(KEYS) do
    if read >= page then
        break
    end
    local rows = redis.pcall('XRANGE', stream, ARGV[2], ARGV[3], 'COUNT', page)
    if not rows.err then
        replies[at] = search(rows, most)
        read = read + replies[at][1]
    elseif string.find(rows.err, 'WRONGTYPE', 1, true) then
        replies[at] = false
    else
        return rows
    end
end
return replies
