-- Returns the number of shards by which events are placed on this shard if it is not `shards`, else nil: then the
-- caller must take nothing (`sharding.growth.state`).
local function placed_by_other(placed, shards)
    local number = redis.call('HGET', placed, 'shards')
    return number and number ~= shards and tonumber(number) or nil
end
