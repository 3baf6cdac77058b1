#!lua flags=allow-oom
-- Saves a lane's position in its topic: the id up to which each entry is settled or was tried, and the entries ever added.
-- KEYS: lane, tries, topic stream, counts
-- ARGV: group, most entries to examine
-- Deliveries that wait for a retry do not hold the checkpoint back: their attempts are stored, and they are found by them.
--#include types
--#include lane_position
local lane, tries, stream, counts = unpack(KEYS)
local group, most = ARGV[1], tonumber(ARGV[2])
must_be('hash', lane, tries, counts)
local row, info = group_in(stream, group), info_of(stream)
if not row or redis.call('HEXISTS', lane, 'start:' .. stream) == 0 then
    return -- the next `ensure` creates it
end
-- Pending entries that were deleted by hand are missing here too: the checkpoint must not pass them before the audit.
local unread = owed_of(lane, stream, info['entries-added']) - row['pending']
if row['lag'] ~= unread then
    most_counted = 500
    local is_counted, count = pcall(count_after, stream, row['last-delivered-id'])
    if not is_counted or count ~= unread then
        return -- also while too many are unread to count here: the audit corrects `lag`, and the next save compares it
    end
end
local checkpoint, start, examined = row['last-delivered-id'], '-', 0
while true do
    local rows = redis.call('XPENDING', stream, group, start, '+', 100)
    local untried
    for _, pending in ipairs(rows) do
        examined = examined + 1
        if examined > most or redis.call('HEXISTS', tries, stream .. '|' .. pending[1]) == 0 then
            untried = pending[1]
            break
        end
    end
    if untried then
        checkpoint = id_before(untried)
        break
    end
    if #rows < 100 then
        break
    end
    start = '(' .. rows[#rows][1]
end
redis.call('HSET', lane, 'checkpoint:' .. stream, checkpoint, 'known:' .. stream, info['entries-added'],
    'last:' .. stream, info['last-generated-id'], 'counted:' .. stream, number(counts, 'routed:' .. stream))
