#!lua flags=allow-oom
-- Deletes dead letters of a pull group.
-- KEYS: dead letters of the group, counters of all groups' dead letters
-- ARGV: `<topic>:<group>`; then ids of dead letters
-- Returns the number of letters that existed.
--#include types
--#include group_letters
local dead, counts = unpack(KEYS)
must_be('stream', dead)
must_be('hash', counts)
local dropped = redis.call('XDEL', dead, unpack(ARGV, 2))
count_letters(counts, ARGV[1], 'dropped', dropped)
return dropped
