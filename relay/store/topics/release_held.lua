#!lua flags=allow-oom
-- Moves held events of a topic into it, oldest first, once its key is a stream again or free.
-- KEYS: topic stream, held events, counts
-- ARGV: most events, most bytes (one event may exceed it)
-- Returns the number of moved events.
--#include types
local stream, held, counts = unpack(KEYS)
local most, room = tonumber(ARGV[1]), tonumber(ARGV[2])
must_be('stream', stream, held)
must_be('hash', counts)
local moved = 0
while moved < most and room > 0 do
    local row = redis.call('XRANGE', held, '-', '+', 'COUNT', 1)[1]
    if not row then
        break
    end
    redis.call('XADD', stream, '*', unpack(row[2]))
    redis.call('XDEL', held, row[1])
    moved = moved + 1
    for _, text in ipairs(row[2]) do
        room = room - #text
    end
end
if moved > 0 then
    redis.call('HINCRBY', counts, 'routed:' .. stream, moved)
end
if redis.call('XLEN', held) == 0 then
    redis.call('DEL', held) -- the router appends to it for as long as it exists
end
return moved
