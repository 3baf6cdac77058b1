#!lua flags=allow-oom
-- Appends a record to the audit stream, and removes the oldest ones beyond a number.
-- KEYS: audit stream
-- ARGV: most records, fields and values of the record
--#include types
must_be('stream', KEYS[1])
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 2))
