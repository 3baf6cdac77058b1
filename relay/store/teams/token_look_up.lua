#!lua flags=allow-oom
-- Reads a token and its team, and notes the use of one that is valid; the caller judges it again.
-- KEYS: tokens, teams, uses of tokens
-- ARGV: id, digest of the secret or empty if it was proved before, now (ms), how long a use is not noted again (ms),
--       source
-- Returns the records of the token and of its team, each false if there is none.
--#include types
must_be('hash', KEYS[1], KEYS[2], KEYS[3])
local row = redis.call('HGET', KEYS[1], ARGV[1])
if not row then
    return { false, false }
end
local is_readable, token = pcall(cjson.decode, row)
if not is_readable or type(token) ~= 'table' then
    return { row, false }
end
local team = type(token.team) == 'string' and redis.call('HGET', KEYS[2], token.team)
local now = tonumber(ARGV[3])
local is_proved = ARGV[2] == '' or ARGV[2] == token.digest
    or (ARGV[2] == token.former_digest and now < (tonumber(token.former_until_ms) or 0))
local is_over = type(token.revoked_ms) == 'number'
    or (type(token.expires_ms) == 'number' and now >= token.expires_ms)
if is_proved and not is_over then
    local used = redis.call('HGET', KEYS[3], ARGV[1])
    if not used or tonumber(string.match(used, '^%d+') or 0) <= now - tonumber(ARGV[4]) then
        redis.call('HSET', KEYS[3], ARGV[1], ARGV[3] .. ' ' .. ARGV[5])
    end
end
return { row, team }
