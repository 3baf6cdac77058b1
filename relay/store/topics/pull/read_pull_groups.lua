#!lua flags=no-writes,allow-oom
-- Finds the pull groups of many topics: here, since XINFO GROUPS also lists every lane's group.
-- KEYS: for each topic its stream, and the places of its groups
-- ARGV: prefix of lanes' groups
-- Returns for each topic the names of its pull groups, and of the groups that have noted a place (a name may come twice); none
-- of a key that is of a wrong type or does not exist.
local prefix = ARGV[1]

local function rows_of(reply)
    if not reply.err then
        return reply
    end
    if string.find(reply.err, 'WRONGTYPE', 1, true) or string.find(reply.err, 'no such key', 1, true) then
        return {}
    end
    error(reply)
end

local found = {}
for at = 1, #KEYS, 2 do
    local names = rows_of(redis.pcall('HKEYS', KEYS[at + 1]))
    for _, row in ipairs(rows_of(redis.pcall('XINFO', 'GROUPS', KEYS[at]))) do
        if string.sub(row[2], 1, #prefix) ~= prefix then
            names[#names + 1] = row[2]
        end
    end
    found[#found + 1] = names
end
return found
