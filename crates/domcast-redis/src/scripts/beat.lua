-- A server is there: counts its subscribers of some documents, and renews its leases or takes those that nobody holds.
-- KEYS: lease, tokens, subscribers, kept, log of each document
-- ARGV: for each: owner, its token or '', '1' if it would take the lease, milliseconds of a lease, its subscribers,
--       its last commit, its cursor or '', for how many milliseconds the document is kept at least or ''
-- Returns: for each the token or '', the subscribers of all, 1 if log and kept state hold together, the number of the last commit or ''

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function beat(keys, args)
    local lease, tokens, subscribers, kept, log = unpack(keys)
    local owner, token, may_claim, duration, n_here, n_own, cursor, lifetime = unpack(args)
    redis.call('HSET', subscribers, owner, string.format('%s %.0f', n_here, now + duration))
    redis.call('PEXPIRE', subscribers, duration)
    local n_subscribers = 0
    local all = redis.call('HGETALL', subscribers)
    for idx = 1, #all, 2 do
        local n, ends = string.match(all[idx + 1], '^(%d%d?%d?%d?%d?%d?%d?) (%d+)$')
        if n and tonumber(ends) > now and tonumber(ends) <= now + duration then
            n_subscribers = n_subscribers + n
        else
            redis.call('HDEL', subscribers, all[idx])
        end
    end

    local held = redis.call('GET', lease)
    local is_held = held and held == token
    -- A lease ends. One that does not was written by nobody of us.
    if held and not is_held then
        local rest = redis.call('PTTL', lease)
        if rest < 0 or rest > tonumber(duration) then
            redis.call('DEL', lease)
            held = false
        end
    end
    local is_free = not held or string.sub(held, 1, #owner + 1) == owner .. ' '
    if is_held then
        redis.call('SET', lease, token, 'PX', duration)
    elseif is_free and may_claim == '1' then
        local n = redis.pcall('INCR', tokens)
        if type(n) == 'table' then
            redis.call('SET', tokens, 1)
            n = 1
        end
        token = owner .. ' ' .. string.format('%.0f', n)
        redis.call('SET', lease, token, 'PX', duration)
    else
        token = ''
    end

    local n, snapshot_n = unpack(redis.call('HMGET', kept, 'n', 'snapshot_n'))
    local is_intact = 1
    if is_held then
        local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
        local is_whole = n and snapshot_n and tonumber(n) and tonumber(snapshot_n) and last and last[1] == n .. '-0'
        if not is_whole or redis.call('XLEN', log) < tonumber(n) - tonumber(snapshot_n) then
            is_intact = 0
        elseif cursor ~= '' and n == n_own then
            redis.call('HSET', kept, 'cursor', cursor)
        end
    end
    -- Renewed before half of it is over. What is not there yet has no time left.
    if lifetime ~= '' and redis.call('PTTL', kept) * 2 < tonumber(lifetime) then
        for _, key in ipairs({ tokens, kept, log }) do redis.call('PEXPIRE', key, lifetime) end
    end
    return { token, n_subscribers, is_intact, n and string.match(n, '^%d+$') or '' }
end

local kinds = { 'string', 'string', 'hash', 'hash', 'stream' }
local answers = {}
for document = 1, #KEYS / 5 do
    local keys = { unpack(KEYS, 5 * document - 4, 5 * document) }
    local args = { unpack(ARGV, 8 * document - 7, 8 * document) }
    local ok, answer = pcall(beat, keys, args)
    if not ok then
        -- A key of another kind was written by nobody of us either.
        for idx, kind in ipairs(kinds) do
            local found = redis.call('TYPE', keys[idx]).ok
            if found ~= kind and found ~= 'none' then redis.call('DEL', keys[idx]) end
        end
        answer = beat(keys, args)
    end
    answers[document] = answer
end
return answers
