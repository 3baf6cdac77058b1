-- Returns the number of shards by which events are placed on this shard if it is not `shards`, else nil: then the
-- caller must take nothing (`sharding.growth.state`). Fails unless `counts`, which has the number, is a hash or does not
-- exist; that needs the types.
local function placed_by_other(counts, shards)
    local number = redis.pcall('HGET', counts, 'placed_by')
    if type(number) == 'table' then
        must_be('hash', counts)
        error(number)
    end
    return number and number ~= shards and tonumber(number) or nil
end
