-- Removes a dead letter from its lane; returns its fields and values, and the chat that it blocks, if any.
local function take_letter(lane, entry)
    local letter = redis.call('XRANGE', lane .. ':dead', entry, entry)[1]
    if not letter then
        return nil
    end
    redis.call('XDEL', lane .. ':dead', entry)
    local fields = letter[2]
    for at = 1, #fields, 2 do
        local is_block = fields[at] == 'dead_blocks'
        if is_block and redis.call('HGET', lane .. ':blocked', fields[at + 1]) == lane .. ':dead|' .. entry then
            return fields, fields[at + 1]
        end
    end
    return fields, nil
end
