#!lua flags=allow-oom
-- Deletes a lane, also when Redis is full: its groups in every stream that it ever read, its deliveries, attempts and
-- counters; and the mark that the lanes are prepared: if its rules return, the router must create the groups again.
-- KEYS: lanes, paused lanes, breakers, prepared, keys of the lane (its hash first)
-- ARGV: name of the lane, its consumer group
local name, group, lane = ARGV[1], ARGV[2], KEYS[5]
local START = 'start:'
for _, field in ipairs(redis.call('TYPE', lane).ok == 'hash' and redis.call('HKEYS', lane) or {}) do
    if string.sub(field, 1, #START) == START then
        redis.pcall('XGROUP', 'DESTROY', string.sub(field, #START + 1), group) -- the stream may be gone
    end
end
redis.call('UNLINK', unpack(KEYS, 4)) -- the mark first
redis.pcall('SREM', KEYS[1], name)
redis.pcall('HDEL', KEYS[2], name)
redis.pcall('HDEL', KEYS[3], name)
