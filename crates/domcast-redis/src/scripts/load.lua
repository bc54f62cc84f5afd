-- Reads what is kept of a view, as one commit left it.
-- KEYS: kept, log, the last commit of the server that asks
-- Returns: nil, or n, source, cursor, snapshot, snapshot_n, where the document stands, the last own commit, the entries after the snapshot

local kinds = { 'hash', 'stream', 'string' }
for idx, kind in ipairs(kinds) do
    local found = redis.call('TYPE', KEYS[idx]).ok
    if found ~= kind and found ~= 'none' then return false end
end
local kept = redis.call('HMGET', KEYS[1], 'n', 'source', 'cursor', 'snapshot', 'snapshot_n', 'at')
local n, snapshot_n = kept[1], kept[5]
if not n or not snapshot_n or not string.match(n, '^%d+$') or not string.match(snapshot_n, '^%d+$') then return false end
if not kept[6] then return false end
kept[7] = redis.call('GET', KEYS[3]) or ''
kept[8] = redis.pcall('XRANGE', KEYS[2], '(' .. snapshot_n .. '-0', n .. '-0')
if kept[8].err then return false end
return kept
