-- Search of a page of a stream. ARGV from `conditions_at`: per condition field, kind, value; all of them must be met:
--     is        the field has this value
--     begins    it begins with it
--     has       it contains it
--     has_like  the same, whatever the case of its letters; the value is in lower case
--     either    it contains the first 16 bytes of the value, or the rest of it
local conditions_at = 6
local met = {
    is = function(value, wanted)
        return value == wanted
    end,
    begins = function(value, wanted)
        return string.sub(value, 1, #wanted) == wanted
    end,
    has = function(value, wanted)
        return string.find(value, wanted, 1, true) ~= nil
    end,
    either = function(value, wanted)
        return string.find(value, string.sub(wanted, 1, 16), 1, true) ~= nil
            or string.find(value, string.sub(wanted, 17), 1, true) ~= nil
    end,
    has_like = function(value, wanted)
        return string.find(string.lower(value), wanted, 1, true) ~= nil
    end,
}

local function is_met(fields, at)
    local name, test, wanted = ARGV[at], met[ARGV[at + 1]], ARGV[at + 2]
    for n = 1, #fields, 2 do
        if fields[n] == name then
            return test(fields[n + 1], wanted)
        end
    end
    return false
end

local function is_found(fields)
    for at = conditions_at, #ARGV, 3 do
        if not is_met(fields, at) then
            return false
        end
    end
    return true
end

-- Returns the number of entries in `rows`, up to the last one that is needed, its id, and the entries found.
local function search(rows, most)
    local found, read = {}, 0
    for _, row in ipairs(rows) do
        read = read + 1
        if is_found(row[2]) then
            found[#found + 1] = row
            if #found == most then
                break
            end
        end
    end
    return { read, read > 0 and rows[read][1] or '', found }
end
