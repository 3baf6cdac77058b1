-- Deletes the record of a subscription made by the API, if it has the given version.
-- KEYS: subscriptions, revision
-- ARGV: name, version (empty for any), new revision
-- Returns the number of deleted records.
--#include types
must_be('hash', KEYS[1])
must_be('string', KEYS[2])
local row = redis.call('HGET', KEYS[1], ARGV[1])
if row and ARGV[2] ~= '' then
    local is_json, record = pcall(cjson.decode, row)
    if is_json and type(record) == 'table' and record['version'] ~= tonumber(ARGV[2]) then
        return 0
    end
end
if not row then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[3])
return 1
