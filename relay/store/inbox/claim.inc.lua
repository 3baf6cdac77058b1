-- Claims an event id (`inbox.claims`): 1 if the id is new, 0 for a duplicate, 2 for another event with the same id; and
-- what was stored before.
-- Redis sets the key and returns its former value in one command. A key of another type cannot be a claim: it is
-- replaced, since a script that fails halfway would leave the rest of its batch undone.
local OWNER, WIDTH = 4, 12

-- Returns true if `claim` is among those that are stored: of the same owner, or of the same content.
local function has_claim(seen, claim)
    if seen == claim then
        return true
    end
    for at = 1, #seen, WIDTH do
        local known = string.sub(seen, at, at + WIDTH - 1)
        if string.sub(known, 1, OWNER) == string.sub(claim, 1, OWNER)
            or string.sub(known, OWNER + 1) == string.sub(claim, OWNER + 1) then
            return true
        end
    end
    return false
end

local function claim_id(key, claim, window)
    local seen = redis.pcall('SET', key, claim, 'NX', 'GET', 'PX', window)
    if not seen then
        return 1
    end
    if type(seen) == 'table' then
        redis.call('SET', key, claim, 'PX', window)
        return 1
    end
    if has_claim(seen, claim) then
        return 0, seen
    end
    redis.call('SET', key, seen .. claim, 'PX', window)
    return 2
end

-- Counts a repeat of an event, behind the claims on its id: in the place of a claim, of an owner that no event has.
local NO_OWNER = '\0\0\0\0'
local function note_repeat(key, seen, now)
    local seconds, place = math.floor(now / 1000), #seen + 1
    local count = 0
    for at = 1, #seen, WIDTH do
        if string.sub(seen, at, at + OWNER - 1) == NO_OWNER then
            place, count = at, struct.unpack('>I4', seen, at + OWNER)
        end
    end
    local noted = NO_OWNER .. struct.pack('>I4I4', math.min(count + 1, 4294967295), seconds)
    redis.call('SET', key, string.sub(seen, 1, place - 1) .. noted .. string.sub(seen, place + WIDTH), 'KEEPTTL')
end
