-- Removes a dead letter, a row of its stream, from its lane; returns its fields and values, and the chat that it blocks, if
-- any.
local function remove_letter(lane, letter)
    local entry, fields = letter[1], letter[2]
    redis.call('XDEL', lane .. ':dead', entry)
    for at = 1, #fields, 2 do
        local is_block = fields[at] == 'dead_blocks'
        if is_block and redis.call('HGET', lane .. ':blocked', fields[at + 1]) == lane .. ':dead|' .. entry then
            return fields, fields[at + 1]
        end
    end
    return fields, nil
end

-- The same by its id; returns nil if it does not exist.
local function take_letter(lane, entry)
    local letter = redis.call('XRANGE', lane .. ':dead', entry, entry)[1]
    if not letter then
        return nil
    end
    return remove_letter(lane, letter)
end
