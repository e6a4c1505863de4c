-- Takes the asker's entry out of the membership document. The life never starts anything after it has sent this.
-- KEYS[1] the document. ARGV: id, life. Answers 1 if the entry was there.
local field = 'm:' .. ARGV[1]
local life = string.match(redis.call('HGET', KEYS[1], field) or '', '^(%S+) ')
if life ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], field)
redis.call('HINCRBY', KEYS[1], 'version', 1)
return 1
