-- Writes the record of a subscription made by the API, if the stored one has the version that it was made from.
-- KEYS: subscriptions, revision
-- ARGV: name, expected version (0 for none), record, new revision, most records
-- Returns 0 if it was written; else the version that is stored, -1 if there is no room, or -2 if there is none.
--#include types
must_be('hash', KEYS[1])
must_be('string', KEYS[2])
local row = redis.call('HGET', KEYS[1], ARGV[1])
local found = 0
if row then
    local is_json, record = pcall(cjson.decode, row)
    found = is_json and type(record) == 'table' and tonumber(record['version']) or 1
end
if found ~= tonumber(ARGV[2]) then
    return found == 0 and -2 or found
end
if not row and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
    return -1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4])
return 0
