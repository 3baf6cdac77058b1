-- Drops dead letters of one lane for good.
-- KEYS: lane
-- ARGV: ids of entries in the lane's dead-letter stream
-- Returns how many of them were there.
local dropped = redis.call('XDEL', KEYS[1] .. ':dead', unpack(ARGV))
if dropped > 0 then
    redis.call('HINCRBY', KEYS[1], 'dropped', dropped)
end
return dropped
