-- Quarantines a body and counts it.
-- KEYS: stream, hash of the count
-- ARGV: fields and values of the entry
redis.call('XADD', KEYS[1], '*', unpack(ARGV))
redis.call('HINCRBY', KEYS[2], 'quarantined', 1)
