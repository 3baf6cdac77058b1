-- Enqueues a wake-up, a job in arq's own format, unless it is queued already.
-- A job that is running keeps both its key and its place in the queue, so waking it changes nothing.
local function wake_up(queue, job, payload, lifetime_ms, due_ms)
    redis.call('SET', 'arq:job:' .. job, payload, 'NX', 'PX', lifetime_ms)
    redis.call('ZADD', queue, 'LT', due_ms, job)
end
