-- Fails unless each key is of a type or does not exist. What a script has written stays when it fails, so a script
-- checks the keys that it writes before its first write: else an event would be counted, or known as seen, and be nowhere.
local function must_be(kind, ...)
    for _, key in ipairs({ ... }) do
        local is = redis.call('TYPE', key).ok
        if is ~= kind and is ~= 'none' then
            error({ err = 'WRONGTYPE ' .. key .. ' is a ' .. is .. ', not a ' .. kind })
        end
    end
end
