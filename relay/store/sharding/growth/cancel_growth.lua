-- Forgets a growth that is not decided.
-- KEYS: growth
-- Returns 1; or 0 if there is none, or the target is in use already.
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'decided') == 1 then
    return 0
end
redis.call('DEL', KEYS[1])
return 1
