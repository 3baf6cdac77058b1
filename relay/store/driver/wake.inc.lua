-- Enqueues a wake-up, a job in arq's own format, unless it is queued already.
-- A job that is running keeps both its key and its place in the queue, so waking it changes nothing. One that is new in
-- the queue, or due earlier now, is also given to a worker that waits for it, whatever has become of that key.
local function wake_up(queue, job, payload, lifetime_ms, due_ms)
    redis.call('SET', 'arq:job:' .. job, payload, 'NX', 'PX', lifetime_ms)
    if redis.call('ZADD', queue, 'LT', 'CH', due_ms, job) > 0 then
        redis.pcall('ZADD', queue .. ':woken', due_ms, job)
    end
end
