-- Notes that an ingress reaches Redis now (ms), and that it was an outage if none did for longer than `most` (ms).
-- Outages that no worker has looked at yet are one: it begins with the first and ends with the last.
local function note_answer(gaps, now, most)
    if not is_free_or('hash', gaps) then
        return
    end
    local last = tonumber(redis.call('HGET', gaps, 'answered_at'))
    if last and now - last > most then
        redis.call('HSETNX', gaps, 'outage_from', last)
        redis.call('HSET', gaps, 'outage_to', now)
    end
    if not last or now > last then
        redis.call('HSET', gaps, 'answered_at', now)
    end
end
