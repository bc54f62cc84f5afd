-- Adds pushes to the stream, each once however often this is tried.
-- KEYS: the stream, then a key for each push
-- ARGV: about how many entries the stream keeps, when they were sealed and how late that may be in milliseconds (0: whenever),
--       then push, request, sender and seal or '' for each
-- Returns: whether they came in time; if not, nothing was added

local limit = tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Readers would refuse it, and a second try would find its request taken.
if limit > 0 and math.abs(now - ARGV[2]) > limit then return 0 end
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'stream' and found ~= 'none' then redis.call('DEL', KEYS[1]) end
-- Entries come after the last one, though that is from the future.
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if limit > 0 and last and string.match(last[1], '^%d+') - ARGV[2] > limit then return 0 end
for idx = 2, #KEYS do
    local push, request, sender, seal = unpack(ARGV, 4 * idx - 4, 4 * idx - 1)
    if redis.call('SET', KEYS[idx], '', 'NX', 'EX', 600) then
        local fields = { 'push', push, 'request', request, 'sender', sender }
        if seal ~= '' then
            table.insert(fields, 'seal')
            table.insert(fields, seal)
        end
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(fields))
    end
end
return 1
