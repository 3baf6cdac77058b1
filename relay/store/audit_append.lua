#!lua flags=allow-oom
-- Appends a record to an audit stream, and removes the oldest ones beyond a number.
-- KEYS: audit stream, teams that have one
-- ARGV: most records, team of the stream or empty for that of operators, fields and values of the record
--#include types
must_be('stream', KEYS[1])
must_be('set', KEYS[2])
if ARGV[2] ~= '' then
    redis.call('SADD', KEYS[2], ARGV[2])
end
-- The second part of the id is the microseconds: the records of all streams have one order, and ids of their own.
local now = redis.call('TIME')
local id = string.format('%s%03d-%d', now[1], math.floor(now[2] / 1000), now[2] % 1000)
local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], id, unpack(ARGV, 3))
if type(added) == 'table' and added.err then
    return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3)) -- the clock was set back
end
return added
