#!lua flags=allow-oom
-- Stores the line of each chat, where the newest proof wins, and deletes the chats with the oldest proofs.
-- KEYS: lease, lines by chat, chats by their last proof (ms), last_writer
-- ARGV: lease token, now (ms), lifetime (ms), most chats; then per proof: chat, line
-- Returns chat, former line and line of each that has moved, flat; or -1 if another worker holds the lease.
--#include types
local lease, lines, proved, last_writer = unpack(KEYS)
local token, now, lifetime, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local first, width = 5, 2
local holder = redis.call('GET', lease)
if holder and holder ~= token then
    return -1
end
must_be('hash', lines)
must_be('zset', proved)
local moved = {}
for at = first, #ARGV, width do
    local chat, line = ARGV[at], ARGV[at + 1]
    local former = redis.call('HGET', lines, chat)
    if former ~= line then
        redis.call('HSET', lines, chat, line)
        if former then
            moved[#moved + 1] = chat
            moved[#moved + 1] = former
            moved[#moved + 1] = line
        end
    end
    redis.call('ZADD', proved, now, chat)
end
-- The oldest entries of the set are both the expired and the excess ones. A step deletes a few more than it added, so
-- that the index stays within its bounds, or returns to them, without blocking Redis.
local step = (#ARGV - first + 1) / width + 100
local expired = redis.call('ZCOUNT', proved, '-inf', now - lifetime)
local beyond = redis.call('ZCARD', proved) - most
local leaving = math.min(math.max(expired, beyond), step)
if leaving > 0 then
    for _, chat in ipairs(redis.call('ZRANGE', proved, 0, leaving - 1)) do
        redis.call('HDEL', lines, chat)
    end
    redis.call('ZREMRANGEBYRANK', proved, 0, leaving - 1)
end
redis.call('SET', last_writer, token, 'PX', lifetime)
redis.call('PEXPIRE', lines, lifetime)
redis.call('PEXPIRE', proved, lifetime)
return moved
