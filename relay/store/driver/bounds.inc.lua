-- The bounds of a stream by size, for scripts that delete its oldest entries.

-- Returns the number of entries, the bytes of each on average, and how many there may be.
local function measure(stream, size)
    local count = redis.call('XLEN', stream)
    local bytes = count > 0 and redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 1000) or 0
    local each = count > 0 and bytes / count or 0
    return count, each, bytes > size and math.floor(size / each) or count
end

-- Returns 1 if the bytes have just grown beyond half of the size (else 0): the alarm is given once, and again only after
-- there was clearly less. A field of a hash notes it.
local function crosses_half(bytes, size, hash, field, mark)
    if bytes > size * 0.5 then
        return redis.call('HSETNX', hash, field, mark)
    elseif bytes < size * 0.4 then
        redis.call('HDEL', hash, field)
    end
    return 0
end
