-- Writes a commit: everything or nothing, and only for the holder of the lease.
-- KEYS: lease, kept, log, the last commit of this owner, tokens, the stream of all commits
-- ARGV: token, n, n of the commit before, id, '1' to install, entry, source, cursor, snapshot or '', '1' if the lease ends with it,
--       for how many milliseconds the document is kept at least or '', its name, where it stands
-- Returns: 'done', 'deposed' or 'astray'

local kinds = { 'string', 'hash', 'stream', 'string' }
for idx, kind in ipairs(kinds) do
    local found = redis.call('TYPE', KEYS[idx]).ok
    if found ~= kind and found ~= 'none' then redis.call('DEL', KEYS[idx]) end
end
local lease, kept, log, own, tokens, commits = unpack(KEYS)
local token, n, n_before, id, install, entry, source, cursor, snapshot, last_word, lifetime, name, at = unpack(ARGV)

local commit = n .. ' ' .. id
local last = redis.call('GET', own)
if last == commit then return 'done' end
-- A command of a connection that was given up may come late.
local last_n = last and tonumber(string.match(last, '^(%d+) '))
if last_n and last_n >= tonumber(n) then return 'deposed' end
if redis.call('GET', lease) ~= token then return 'deposed' end
-- Another server may have asked for longer.
local rest = redis.call('PTTL', kept)
if install == '1' then
    redis.call('DEL', kept, log)
elseif redis.call('HGET', kept, 'n') ~= n_before then
    return 'astray'
end
-- Numbers of entries only grow: if somebody else wrote here, this one is refused.
local added = redis.pcall('XADD', log, 'MAXLEN', '1024', n .. '-0', 'step', entry)
if type(added) == 'table' and added.err then return 'astray' end
redis.call('HSET', kept, 'n', n, 'at', at, 'source', source, 'cursor', cursor)
if snapshot ~= '' then redis.call('HSET', kept, 'snapshot', snapshot, 'snapshot_n', n) end
-- Who is cut off may come back when another has kept the document meanwhile, and asks what it wrote. Who gave it up does not.
local remembered = math.max(tonumber(lifetime) or 0, 3600000)
if lifetime ~= '' and last_word == '1' then remembered = lifetime end
redis.call('SET', own, commit, 'PX', remembered)
if lifetime ~= '' then
    for _, key in ipairs({ tokens, kept, log }) do redis.call('PEXPIRE', key, math.max(rest, tonumber(lifetime))) end
end
if last_word == '1' then redis.call('DEL', lease) end
-- Tells readers where to look. What somebody else wrote there, as from the future, must not keep it from being told.
local told = redis.pcall('XADD', commits, 'MAXLEN', '~', '10000', '*', 'document', name, 'n', n)
local now = redis.call('TIME')[1] * 1000
local told_at = type(told) == 'string' and tonumber(string.match(told, '^%d+'))
if not told_at or told_at > now + 86400000 then
    redis.call('DEL', commits)
    redis.call('XADD', commits, '*', 'document', name, 'n', n)
end
return 'done'
