-- Stores lines of chats that come from another shard; the newest proof wins.
-- KEYS: lines by chat, chats by their last proof (ms), last_writer
-- ARGV: lifetime (ms); then per chat: chat, line, its last proof (ms)
-- Returns the number of those that were stored.
--#include types
local lines, proved, last_writer = KEYS[1], KEYS[2], KEYS[3]
must_be('hash', lines)
must_be('zset', proved)
local stored = 0
for at = 2, #ARGV, 3 do
    local known = redis.call('ZSCORE', proved, ARGV[at])
    if not known or tonumber(known) < tonumber(ARGV[at + 2]) then
        redis.call('HSET', lines, ARGV[at], ARGV[at + 1])
        redis.call('ZADD', proved, ARGV[at + 2], ARGV[at])
        stored = stored + 1
    end
end
if stored > 0 then
    redis.call('SET', last_writer, 'copy', 'PX', ARGV[1]) -- a router clears its cache when it begins
    redis.call('PEXPIRE', lines, ARGV[1])
    redis.call('PEXPIRE', proved, ARGV[1])
end
return stored
