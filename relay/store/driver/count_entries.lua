#!lua flags=no-writes,allow-oom
-- Counts entries of a stream: here, since the entries themselves need not travel.
-- KEYS: stream
-- ARGV: id after which it begins, last id, most entries
-- Returns their number, and the id of the last one.
local rows = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], ARGV[2], 'COUNT', ARGV[3])
return { #rows, #rows > 0 and rows[#rows][1] or ARGV[1] }
