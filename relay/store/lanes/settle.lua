#!lua flags=allow-oom
-- Settles a batch of deliveries of one partition's lanes: done, filtered, retried later, or dead.
-- Several shards come here together if they share a server that is no cluster (`sharding.shards.by_server`).
-- KEYS: lease per shard
-- ARGV: per shard: lease token, number of deliveries; then per delivery: verdict, lane key, stream, group, entry id, replay (1 or 0), the attempt (empty if
--       none was made), the detail of its failure (may be empty), the limits of attempts and of details, n, n values:
--         done      the chat that the delivery blocked, if any
--         filtered  the same
--         again     due (ms), the attempts so far
--         dead      the chat that it blocks (empty if none), fields and values of the dead letter
-- A verdict counts only for a delivery that is still pending: a worker that lost the lease, or settles a second time, changes nothing.
-- A lease that is no string is not held.
-- A success is always taken, since the subscriber has the event, whichever worker sent it.
-- An attempt is stored, and marked, even if its verdict does not count: it was made, and explains a duplicate.
-- An error concerns its own delivery: a lane whose key is of a wrong type must not stop the lanes that share the batch.
-- Returns the number of verdicts that counted; then, for each delivery that could not be settled, its number in the
-- batch (from 1) and the error.
--#include types
local held
local counted = 0

-- Increments of each lane's counters, written once per batch: that is a third of the time of a success.
local counts = {}
local function count(lane, field, more)
    local of_lane = counts[lane]
    if not of_lane then
        of_lane = {}
        counts[lane] = of_lane
    end
    of_lane[field] = (of_lane[field] or 0) + more
end

local function write_count(lane, field, more)
    local added = redis.pcall('HINCRBY', lane, field, more)
    if type(added) == 'table' and added.err then
        if string.find(added.err, 'WRONGTYPE', 1, true) then
            error(added)
        end
        redis.call('HSET', lane, field, more)  -- the field is no number: the count starts again
    end
end

-- Counts a settlement before its other writes. The first one of a lane in the batch is written at once, which fails if the
-- lane's hash is of another type: that costs no command more. `expected` is taken back if the settlement comes to nothing.
local expected, expected_lane, is_written
local function expect(lane, field)
    local of_lane = counts[lane]
    local so_far = of_lane and of_lane[field]
    if so_far then
        of_lane[field] = so_far + 1
    else
        write_count(lane, field, 1)
        count(lane, field, 0)
    end
    expected, expected_lane, is_written = field, lane, not so_far
end

local function take_back()
    local lane, field = expected_lane, expected
    expected = nil
    if not is_written then
        count(lane, field, -1)
    elseif redis.call('HINCRBY', lane, field, -1) == 0 then
        redis.call('HDEL', lane, field)  -- which deletes the hash of a lane that was dropped
    end
end

-- Fails if a key is of another type than `kind`, before anything of the delivery is written; asks once per batch.
local checked = {}
local function check(kind, key)
    if not checked[key] then
        must_be(kind, key)
        checked[key] = true
    end
end

-- Returns true if a lane has retried deliveries: few have, and the others have no tries to delete.
local retrying = {}
local function has_tries(lane)
    if retrying[lane] == nil then
        retrying[lane] = redis.call('EXISTS', lane .. ':retries', lane .. ':tries') > 0
    end
    return retrying[lane]
end

local function check_tries(lane)
    check('zset', lane .. ':retries')
    check('hash', lane .. ':tries')
end

local function close(lane, stream, group, entry, replay)
    local tried = has_tries(lane)
    if tried then
        check_tries(lane)
    end
    if redis.call('XACK', stream, group, entry) == 0 then
        return false
    end
    if replay == '1' then
        redis.call('XDEL', stream, entry)
    else
        count(lane, 'settled:' .. stream, 1)
    end
    if tried then
        redis.call('ZREM', lane .. ':retries', stream .. '|' .. entry)
        redis.call('HDEL', lane .. ':tries', stream .. '|' .. entry)
    end
    return true
end

local function is_pending(stream, group, entry)
    local rows = redis.pcall('XPENDING', stream, group, entry, entry, 1)
    if rows.err and not string.find(rows.err, 'NOGROUP', 1, true) then
        error(rows)
    end
    return not rows.err and #rows == 1
end

local function unblock(lane, stream, entry, at, last)
    if at <= last and redis.call('HGET', lane .. ':blocked', ARGV[at]) == stream .. '|' .. entry then
        redis.call('HDEL', lane .. ':blocked', ARGV[at])
    end
end

local function done(lane, stream, group, entry, replay, at, last)
    if at <= last then
        check('hash', lane .. ':blocked')
    end
    expect(lane, 'delivered')
    if close(lane, stream, group, entry, replay) then
        expected = nil
        unblock(lane, stream, entry, at, last)
        return 1
    end
    return 0
end

local function filtered(lane, stream, group, entry, replay, at, last)
    if at <= last then
        check('hash', lane .. ':blocked')
    end
    if held then
        expect(lane, 'filtered')
    end
    if held and close(lane, stream, group, entry, replay) then
        expected = nil
        unblock(lane, stream, entry, at, last)
        return 1
    end
    return 0
end

local function again(lane, stream, group, entry, at)
    if held and is_pending(stream, group, entry) then
        check_tries(lane)
        retrying[lane] = true
        local is_new = redis.call('ZADD', lane .. ':retries', ARGV[at], stream .. '|' .. entry)
        redis.call('HSET', lane .. ':tries', stream .. '|' .. entry, ARGV[at + 1])
        return 1, is_new
    end
    return 0
end

local function dead(lane, stream, group, entry, replay, at, last)
    if held and is_pending(stream, group, entry) then
        check('hash', lane .. ':blocked')
        if has_tries(lane) then
            check_tries(lane)
        end
        -- The first write: a failed script is not rolled back, and a delivery without its letter must not be closed.
        local letter = redis.call('XADD', lane .. ':dead', '*', unpack(ARGV, at + 1, last))
        close(lane, stream, group, entry, replay)
        if ARGV[at] ~= '' then
            redis.call('HSET', lane .. ':blocked', ARGV[at], lane .. ':dead|' .. letter)
        end
        count(lane, 'died', 1)
        return 1
    end
    return 0
end

-- Returns true if an attempt is stored already: the reply to this batch was lost, and it is written again.
local lately = {}
local function is_known(attempts, attempt)
    if not lately[attempts] then
        lately[attempts] = {}
        for _, row in ipairs(redis.call('XREVRANGE', attempts, '+', '-', 'COUNT', 512)) do
            lately[attempts][row[2][2]] = true
        end
    end
    return lately[attempts][attempt]
end

local function remember(lane, is_new, at)
    local attempt, answer, attempts = ARGV[at], ARGV[at + 1], lane .. ':attempts'
    if attempt == '' then
        return
    end
    local id
    if is_new == 1 then
        id = redis.call('XADD', attempts, 'MAXLEN', '~', ARGV[at + 2], '*', 'a', attempt)
    elseif redis.call('EXISTS', lane) == 1 and not is_known(attempts, attempt) then  -- unless the lane was dropped
        id = redis.call('XADD', attempts, 'MAXLEN', '~', ARGV[at + 2], '*', 'a', attempt, 'moot', '1')
    end
    if id and answer ~= '' then
        -- If the id is not the greatest, since one of the streams was deleted, only the answer is lost.
        redis.pcall('XADD', lane .. ':answers', 'MAXLEN', '~', ARGV[at + 3], id, 'a', answer)
    end
end

local function settle(at)
    local verdict, lane, stream, group, entry, replay = unpack(ARGV, at, at + 5)
    local made, values = at + 6, at + 11
    local last = values + tonumber(ARGV[at + 10]) - 1
    local counts_now, is_new
    if verdict == 'again' or verdict == 'dead' then
        check('hash', lane)
        check('stream', lane .. ':attempts')
        check('stream', lane .. ':answers')
    end
    if verdict == 'done' then
        counts_now = done(lane, stream, group, entry, replay, values, last)
    elseif verdict == 'filtered' then
        counts_now = filtered(lane, stream, group, entry, replay, values, last)
    elseif verdict == 'again' then
        counts_now, is_new = again(lane, stream, group, entry, values)
    else
        counts_now = dead(lane, stream, group, entry, replay, values, last)
    end
    if expected then
        take_back()
    end
    counted = counted + counts_now
    remember(lane, is_new or counts_now, made)
    return last + 1
end

local at, shard, number, result = 1, 0, 0, { 0 }
while at <= #ARGV do
    shard = shard + 1
    local holder = redis.pcall('GET', KEYS[shard])
    held = not holder or holder == ARGV[at]
    local last = number + ARGV[at + 1]
    at = at + 2
    while number < last do
        number = number + 1
        local ok, outcome = pcall(settle, at)
        if ok then
            at = outcome
        else
            if expected then
                take_back()
            end
            result[#result + 1] = number
            result[#result + 1] = type(outcome) == 'table' and outcome.err or tostring(outcome)
            at = at + 11 + tonumber(ARGV[at + 10])
        end
    end
end
for lane, of_lane in pairs(counts) do
    for field, more in pairs(of_lane) do
        if more ~= 0 then
            write_count(lane, field, more)
        end
    end
end
result[1] = counted
return result
