-- The functions that scripts of pull groups share.

-- The consumer that holds events for a member over HTTP: `relay:http:<visibility timeout, ms>:<member>`.
local function visibility_of(consumer)
    return tonumber(string.match(consumer, '^relay:http:(%d+):'))
end

local function member_of(consumer)
    return string.match(consumer, '^relay:http:%d+:(.*)$')
end

-- The reply of XINFO as a table; nil if there is no stream.
local function table_of(flat)
    local fields = {}
    for at = 1, #flat, 2 do
        fields[flat[at]] = flat[at + 1]
    end
    return fields
end

local function group_of(stream, name)
    local rows = redis.pcall('XINFO', 'GROUPS', stream)
    for _, row in ipairs(rows.err and {} or rows) do
        local group = table_of(row)
        if group['name'] == name then
            return group
        end
    end
    return nil
end

local function is_before(one, other)
    local one_ms, one_number = string.match(one, '^(%d+)-(%d+)$')
    local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
    if one_ms ~= other_ms then
        return tonumber(one_ms) < tonumber(other_ms)
    end
    return tonumber(one_number) < tonumber(other_number)
end

-- The greatest id below `id`.
local function id_before(id)
    local ms, number = string.match(id, '^(%d+)-(%d+)$')
    if tonumber(number) > 0 then
        return ms .. '-' .. string.format('%.0f', tonumber(number) - 1)
    end
    return string.format('%.0f', math.max(tonumber(ms) - 1, 0)) .. '-18446744073709551615'
end

-- Notes where the group resumes if it gets lost: before its oldest event that is not acknowledged.
local function save_place(places, stream, name)
    local group = group_of(stream, name)
    if group then
        local oldest = group['pending'] > 0 and redis.call('XPENDING', stream, name)[2]
        redis.call('HSET', places, name, oldest and id_before(oldest) or group['last-delivered-id'])
    end
end
