#!lua flags=no-writes,allow-oom
-- Finds the topics that have held events.
-- KEYS: held events of each topic
-- Returns the numbers (from 1) of those that exist.
local found = {}
for at, held in ipairs(KEYS) do
    if redis.call('EXISTS', held) == 1 then
        found[#found + 1] = at
    end
end
return found
