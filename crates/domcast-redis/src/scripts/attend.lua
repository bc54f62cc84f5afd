-- Tells who is at a server, and who is elsewhere.
-- KEYS: the servers by when they end, who is at this one
-- ARGV: its name, the number of what it tells, who is there or '', its sign of life, for how many milliseconds that counts,
--       then name and number of each server that is known
-- Returns: 1 if what this server tells is kept; name, number, sign of life, and who is there or '' of each other server

local kinds = { 'zset', 'hash' }
for idx, kind in ipairs(kinds) do
    local found = redis.call('TYPE', KEYS[idx]).ok
    if found ~= kind and found ~= 'none' then redis.call('DEL', KEYS[idx]) end
end
local servers, own = unpack(KEYS)
local name, n, text, alive, lifetime = unpack(ARGV, 1, 5)
local known = {}
for idx = 6, #ARGV, 2 do known[ARGV[idx]] = ARGV[idx + 1] end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if text ~= '' then redis.call('HSET', own, 'n', n, 'text', text) end
local is_kept = 0
if redis.call('HGET', own, 'n') == n then
    is_kept = 1
    redis.call('HSET', own, 'alive', alive)
    redis.call('PEXPIRE', own, lifetime)
    redis.call('ZADD', servers, now + lifetime, name)
    redis.call('PEXPIRE', servers, lifetime)
end
redis.call('ZREMRANGEBYSCORE', servers, '-inf', now)
local others = {}
-- Later ends than that were written by nobody of us.
for _, other in ipairs(redis.call('ZRANGEBYSCORE', servers, now, now + 3600000, 'LIMIT', 0, 256)) do
    local found = redis.pcall('HMGET', servers .. ':' .. other, 'n', 'alive')
    if other ~= name and not found.err and found[1] and found[2] then
        local told = ''
        if known[other] ~= found[1] then told = redis.call('HGET', servers .. ':' .. other, 'text') or '' end
        table.insert(others, { other, found[1], found[2], told })
    end
end
return { is_kept, others }
