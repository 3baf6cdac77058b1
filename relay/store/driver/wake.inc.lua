-- Rings a wakeup: hangs a job into arq's queue in arq's own format, unless it hangs there already.
-- A job that is running keeps both its key and its place in the queue, so ringing it changes nothing.
local function ring(queue, job, payload, lifetime_ms, due_ms)
    redis.call('SET', 'arq:job:' .. job, payload, 'NX', 'PX', lifetime_ms)
    redis.call('ZADD', queue, 'LT', due_ms, job)
end
