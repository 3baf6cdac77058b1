-- The topics that have a message already, because it was backfilled or because its own event came first (`store.gaps`).
-- The field of a message is `<event type>:<line>:<message id>`. Its value begins with the hour in which it was put back, and a
-- colon; then it is `1` while its backfill is in the inbox, the streams that got it in the form `@<stream> <stream>`, or
-- `live` if the message's own event was routed before it.
-- The arguments are ranges of ARGV: the streams that match an event, and its fields.
-- Returns a set of streams, nil if the event goes to all of its own.
local function topics_with(backfilled, first, last, first_field, last_field)
    local of = {}
    for at = first_field, last_field - 3, 2 do -- the last field is the body
        of[ARGV[at]] = ARGV[at + 1]
    end
    if not of.message or of.version == 'v2' or (of.type ~= 'message.received' and of.type ~= 'message.sent') then
        return nil
    end
    local field = of.type .. ':' .. (of.line or '') .. ':' .. of.message
    local hour, state = string.match(redis.call('HGET', backfilled, field) or '', '^(%d+:)(.*)$')
    if of.source == 'backfill' then
        local all = {}
        for position = first, last do
            all[ARGV[position]] = true
        end
        if state == 'live' then
            return all
        end
        if hour then
            redis.call('HSET', backfilled, field, hour .. '@' .. table.concat(ARGV, ' ', first, last))
        end
    elseif state == '1' then
        redis.call('HSET', backfilled, field, hour .. 'live')
    elseif state and string.sub(state, 1, 1) == '@' then
        local had = {}
        for stream in string.gmatch(string.sub(state, 2), '%S+') do
            had[stream] = true
        end
        return had
    end
    return nil
end
