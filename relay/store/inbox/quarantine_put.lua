-- Quarantines a body and counts it.
-- KEYS: stream, hash of the count
-- ARGV: fields and values of the entry
-- Returns the id of the entry.
--#include types
must_be('stream', KEYS[1])
must_be('hash', KEYS[2])
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV))
redis.call('HINCRBY', KEYS[2], 'quarantined', 1)
return id
