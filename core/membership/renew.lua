-- Renews the asker's entry in the membership document and returns the document.
-- KEYS[1] the document. ARGV: id, life, random, generation, seen, agreed, then the generation in which entries were looked at and pairs
-- of what to remove: entry, beat. Beats begin anew with a founding, so a beat means something in its generation only.
local key, id, life, random, gen = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local seen, agreed = tonumber(ARGV[5]), tonumber(ARGV[6])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local d, flat = {}, redis.call('HGETALL', key)
for i = 1, #flat, 2 do d[flat[i]] = flat[i + 1] end
local version, beat = tonumber(d.version or 0), tonumber(d.beat or 0)
local changed = false

if d.run ~= run or (d.gen == gen and version < seen) then -- lost, or another Redis's: found it anew
	redis.call('DEL', key)
	d = { run = run, gen = random, ['m:?'] = '? 0 0 0' }
end
for i = 8, #ARGV, 2 do
	local field = 'm:' .. ARGV[i]
	if d[field] and d.gen == ARGV[7] and string.match(d[field], '^%S+ (%d+)') == ARGV[i + 1] then
		d[field] = nil
		redis.call('HDEL', key, field)
		changed = changed or ARGV[i] ~= '?'
	end
end
local base = math.max(version, seen)
local owner, has, joined = string.match(d['m:' .. id] or '', '^(%S+) %d+ (%d+) (%d+)$')
if not owner or (d.gen ~= gen and version <= seen) then changed = true end
if changed then version = base + 1 end
beat = beat + 1
if not owner then
	d['m:' .. id] = string.format('%s %d 0 %d', life, beat, version)
elseif owner == life then
	d['m:' .. id] = string.format('%s %d %d %s', life, beat, math.max(tonumber(has), agreed), joined)
end -- else another life of this id stands there: it must be removed first
d.version, d.beat = version, beat
local out = {}
for k, v in pairs(d) do out[#out + 1] = k; out[#out + 1] = tostring(v) end
redis.call('HSET', key, unpack(out))
return out
