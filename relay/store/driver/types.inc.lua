local function is_free_or(kind, key)
    local is = redis.call('TYPE', key).ok
    return is == kind or is == 'none'
end

-- Fails unless each key is of a type or does not exist. A failing script is not rolled back, so a script checks
-- its keys before its first write: otherwise an event could be counted, or recorded as seen, and not be stored.
local function must_be(kind, ...)
    for _, key in ipairs({ ... }) do
        local is = redis.call('TYPE', key).ok
        if is ~= kind and is ~= 'none' then
            error({ err = 'WRONGTYPE ' .. key .. ' is a ' .. is .. ', not a ' .. kind })
        end
    end
end
