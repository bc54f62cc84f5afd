-- Adds pushes to the stream, each once however often this is tried.
-- KEYS: the stream, then a key for each push
-- ARGV: about how many entries the stream keeps, then push, request and sender for each

local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'stream' and found ~= 'none' then redis.call('DEL', KEYS[1]) end
for idx = 2, #KEYS do
    local push, request, sender = unpack(ARGV, 3 * idx - 4, 3 * idx - 2)
    if redis.call('SET', KEYS[idx], '', 'NX', 'EX', 600) then
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'push', push, 'request', request, 'sender', sender)
    end
end
