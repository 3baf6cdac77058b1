-- Settles a batch of deliveries of one slot's lanes: done, filtered out, again later, or dead.
-- KEYS: lease
-- ARGV: lease token, then per delivery: verdict, lane key, stream, group, entry id, replay (1 or 0), n, n values:
--         done      the chat that the delivery held up, if it did
--         filtered  the same
--         again     due (ms), what the attempts so far were
--         dead      the chat that it holds up (empty if none), fields and values of the dead letter
-- A verdict counts only for a delivery that is still pending: whoever lost the lease in between, or settles a second time, changes nothing.
-- A success is always taken, since the subscriber has the event whoever sent it. Returns how many verdicts counted.
local holder = redis.call('GET', KEYS[1])
local held = not holder or holder == ARGV[1]
local counted = 0

local function close(lane, stream, group, entry, replay)
    if redis.call('XACK', stream, group, entry) == 0 then
        return false
    end
    if replay == '1' then
        redis.call('XDEL', stream, entry)
    else
        redis.call('HINCRBY', lane, 'settled:' .. stream, 1)
    end
    redis.call('ZREM', lane .. ':retries', stream .. '|' .. entry)
    redis.call('HDEL', lane .. ':tries', stream .. '|' .. entry)
    return true
end

local function is_pending(stream, group, entry)
    local rows = redis.pcall('XPENDING', stream, group, entry, entry, 1)
    return not rows.err and #rows == 1
end

local function let_go(lane, stream, entry, at, last)
    if at <= last and redis.call('HGET', lane .. ':held_up', ARGV[at]) == stream .. '|' .. entry then
        redis.call('HDEL', lane .. ':held_up', ARGV[at])
    end
end

local function done(lane, stream, group, entry, replay, at, last)
    if close(lane, stream, group, entry, replay) then
        redis.call('HINCRBY', lane, 'delivered', 1)
        let_go(lane, stream, entry, at, last)
        return 1
    end
    return 0
end

local function filtered(lane, stream, group, entry, replay, at, last)
    if held and close(lane, stream, group, entry, replay) then
        redis.call('HINCRBY', lane, 'filtered', 1)
        let_go(lane, stream, entry, at, last)
        return 1
    end
    return 0
end

local function again(lane, stream, group, entry, at)
    if held and is_pending(stream, group, entry) then
        redis.call('ZADD', lane .. ':retries', ARGV[at], stream .. '|' .. entry)
        redis.call('HSET', lane .. ':tries', stream .. '|' .. entry, ARGV[at + 1])
        return 1
    end
    return 0
end

local function dead(lane, stream, group, entry, replay, at, last)
    if held and close(lane, stream, group, entry, replay) then
        local letter = redis.call('XADD', lane .. ':dead', '*', unpack(ARGV, at + 1, last))
        if ARGV[at] ~= '' then
            redis.call('HSET', lane .. ':held_up', ARGV[at], lane .. ':dead|' .. letter)
        end
        redis.call('HINCRBY', lane, 'died', 1)
        return 1
    end
    return 0
end

local at = 2
while at <= #ARGV do
    local verdict, lane, stream, group, entry, replay = unpack(ARGV, at, at + 5)
    local values = at + 7
    local last = values + tonumber(ARGV[at + 6]) - 1
    at = last + 1
    if verdict == 'done' then
        counted = counted + done(lane, stream, group, entry, replay, values, last)
    elseif verdict == 'filtered' then
        counted = counted + filtered(lane, stream, group, entry, replay, values, last)
    elseif verdict == 'again' then
        counted = counted + again(lane, stream, group, entry, values)
    else
        counted = counted + dead(lane, stream, group, entry, replay, values, last)
    end
end
return counted
