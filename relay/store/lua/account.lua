-- Counts what a lane whose group was made again is given twice, or never, and takes away the note that told of it.
-- KEYS: lane
-- ARGV: field of the note, the note, counter, number
-- Returns 1; 0 if somebody else has accounted for it.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HINCRBY', KEYS[1], ARGV[3], ARGV[4])
return 1
