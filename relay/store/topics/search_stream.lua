#!lua flags=no-writes,allow-oom
-- Searches a page of a stream: here, since most entries need not travel.
-- KEYS: stream
-- ARGV: `back` or `on`, id at which it begins (with a leading parenthesis: after it), id at which it ends,
--       most entries to read, most to find; then the conditions.
-- Returns the number of entries that were read, the id of the last of them, and the entries that were found.
--#include search
local command = ARGV[1] == 'back' and 'XREVRANGE' or 'XRANGE'
return search(redis.call(command, KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4]), tonumber(ARGV[5]))
