#!lua flags=allow-oom
-- Deletes the oldest dead letters of a pull group: those that are too old, and those beyond its size. Counts also those
-- that its members have pushed out, and notes that the group has dead letters.
-- KEYS: dead letters of the group, counters of all groups' dead letters
-- ARGV: `<topic>:<group>`, time before which a letter is too old (ms), the most bytes of Redis's memory, the most letters
--       to delete in this step
-- Returns the numbers of letters deleted for their age, for the size, and by members; the number of remaining ones and
-- their bytes; and 1 if they have just grown beyond half of the size (else 0).
--#include types
--#include bounds
--#include group_letters
local dead, counts = unpack(KEYS)
local id, young, size, step = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
must_be('stream', dead)
must_be('hash', counts)
if redis.call('EXISTS', dead) == 0 then
    return { 0, 0, 0, 0, 0, 0 }
end

local function counted(what)
    return tonumber(redis.call('HGET', counts, what .. ':' .. id) or 0)
end

local info = redis.call('XINFO', 'STREAM', dead)
local added
for at = 1, #info, 2 do
    if info[at] == 'entries-added' then
        added = info[at + 1]
    end
end
local count, each, most = measure(dead, size)
local pushed_out = math.max(added - count - counted('replayed') - counted('dropped') - counted('discarded'), 0)
local expired, over = 0, 0
for _, letter in ipairs(redis.call('XRANGE', dead, '-', '+', 'COUNT', step)) do
    if tonumber(string.match(letter[1], '^%d+')) < young then
        expired = expired + 1
    elseif count - expired - over > most then
        over = over + 1
    else
        break
    end
    redis.call('XDEL', dead, letter[1])
end
count = count - expired - over
local bytes = math.floor(each * count)
count_letters(counts, id, 'discarded', expired + over + pushed_out)
return { expired, over, pushed_out, count, bytes, crosses_half(bytes, size, counts, 'alarm:' .. id, 1) }
