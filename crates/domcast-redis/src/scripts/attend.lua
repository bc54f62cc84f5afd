-- Tells who is at a server, and who is elsewhere.
-- KEYS: the servers by when they end, who is at this one
-- ARGV: its name, the number of what it tells, who is there or '', since which number what changed or '' and '', its sign of life, for how many
--       milliseconds that counts, then name and number of each server that is known
-- Returns: 1 if what this server tells is kept; of each other server name, number, sign of life, and what leads there from the number that is known, for
--          each step: since which number ('' for the whole), its number, text

local kinds = { 'zset', 'hash' }
for idx, kind in ipairs(kinds) do
    local found = redis.call('TYPE', KEYS[idx]).ok
    if found ~= kind and found ~= 'none' then redis.call('DEL', KEYS[idx]) end
end
local servers, own = unpack(KEYS)
local name, n, whole, since, change, alive, lifetime = unpack(ARGV, 1, 7)
local known = {}
for idx = 8, #ARGV, 2 do known[ARGV[idx]] = ARGV[idx + 1] end

-- The steps from one number to another, or nil. A step is kept under the number that it leads on from.
local function steps(key, at, n)
    local found = {}
    while at ~= n do
        local step = redis.call('HGET', key, at)
        local to = step and string.match(step, '^(%d+) ')
        -- Numbers grow, and nobody of us leaves so many steps.
        if not to or tonumber(to) <= tonumber(at) or #found > 3 * 2000 then return nil end
        for _, part in ipairs({ at, to, string.sub(step, #to + 2) }) do table.insert(found, part) end
        at = to
    end
    return found
end

local function told(key, known, n)
    local found = known and steps(key, known, n)
    if found then return found end
    local whole_n, whole = unpack(redis.call('HMGET', key, 'whole_n', 'whole'))
    if not whole or not string.match(whole_n or '', '^%d+$') then return {} end
    found = { '', whole_n, whole }
    for _, part in ipairs(steps(key, whole_n, n) or {}) do table.insert(found, part) end
    return found
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local n_before = redis.call('HGET', own, 'n')
if whole ~= '' then
    redis.call('DEL', own)
    redis.call('HSET', own, 'n', n, 'whole_n', n, 'whole', whole)
end
if since ~= '' and n_before == since then redis.call('HSET', own, 'n', n, since, n .. ' ' .. change) end
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
        table.insert(others, { other, found[1], found[2], told(servers .. ':' .. other, known[other], found[1]) })
    end
end
return { is_kept, others }
