-- Leases parts of limits to one proxy: for each bucket a pace, or an allowance of a count.
-- KEYS: buckets, at most 100. ARGV: proxy, life, number of the call, proxies; then for each bucket: kind ('0' a rate, '1' a count, '2' a rate that is given back), limit,
-- used, missed, demand, credit, holds. Answers a number for each bucket, '-1' where the key holds something else.
-- Paces and what a level holds are in 1/1024 units; what each field means: docs/quota-share.md.
local proxy, life, number, proxies = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local own = 'p:' .. proxy
local WRAP, FINE = 281474976710656, 1024

-- Reads the books of a bucket. Entries that are too old are left out; times go back with the clock.
local function books_read(key, stale)
	local books = { level = 0, last = now, since = now, others = {}, count = 0, gone = {} }
	local flat, fields = redis.call('HGETALL', key), {}
	for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
	local level, last, since = string.match(fields.b or '', '^(%-?%d+) (%d+) (%d+)$')
	if not level then
		if next(fields) then redis.call('DEL', key) end
		return books
	end
	local back = math.max(0, last - now)
	if now - last > stale then
		redis.call('DEL', key)
		return books
	end
	books.level, books.last, books.since = tonumber(level), last - back, since - back
	for field, value in pairs(fields) do
		local l, n, used, pace, demand, credit, at = string.match(value, '^(%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
		if field == 'b' then
			-- read above
		elseif not l or now - (at - back) > stale then
			if l then books.level = books.level + pace * (books.last - (at - back)) / 1000000 end -- a lease of a proxy that is gone
			books.gone[#books.gone + 1] = field
		else
			local entry = { life = l, number = tonumber(n), used = tonumber(used), pace = tonumber(pace), demand = tonumber(demand),
				credit = tonumber(credit), at = at - back }
			if field == own then
				books.mine = entry
			else
				books.count = books.count + 1
				books.others[books.count] = entry
			end
		end
	end
	return books
end

local function sum(books, what)
	local all = 0
	for i = 1, books.count do all = all + books.others[i][what] end
	return all
end

-- `entry`: of the asker; nil: it has given back what it had.
local function books_write(key, books, entry)
	if not entry then books.gone[#books.gone + 1] = own end
	if #books.gone > 0 then redis.call('HDEL', key, unpack(books.gone)) end
	redis.call('HSET', key, 'b', string.format('%.0f %.0f %.0f', books.level, now, books.since))
	if entry then redis.call('HSET', key, own, string.format('%s %.0f %.0f %.0f %.0f %.0f %.0f', life, number, unpack(entry))) end
	redis.call('PEXPIRE', key, 10000)
end

-- What is free at the others: who has what it wants may have taken nothing since it told.
local function held_by_others(books)
	local all = 0
	for i = 1, books.count do
		local entry = books.others[i]
		local saved = entry.demand <= entry.pace and entry.pace * (now - entry.at) / 1000000 or 0
		all = all + math.min(entry.credit + saved, math.max(entry.credit, entry.pace / 5))
	end
	return all
end

-- The level: what the limit has given, less what is leased, and what is returned or was taken beyond the lease. What was taken
-- counts against the bound as if it had been taken now: what could not be saved up before is not there afterwards.
local function level_now(books, returned, limit, used, missed, credit)
	local mine, paces, held, taken = books.mine, sum(books, 'pace'), held_by_others(books) + credit, missed * FINE
	if mine then paces = paces + mine.pace end
	local level = books.level + (limit - paces) * (now - books.last) / 1000000
	if mine and mine.life == life then
		taken = (used - mine.used) % WRAP
		taken = taken < WRAP / 2 and taken * FINE or 0
		level = level + mine.pace * (now - mine.at) / 1000000 - taken - (credit - mine.credit)
	else
		level = level - taken - credit
	end
	if returned then level = level + credit end
	local most = math.max(FINE * math.max(proxies, books.count + 1), math.min(limit / 16, limit / 5 - held - taken))
	return math.floor(math.max(math.min(level, most), -limit / 2))
end

-- Who asks for less than an equal part of `left` gets it; the others get equal parts of what is left then.
local function fair_part(books, left, demand)
	local demands = { demand }
	for i = 1, books.count do demands[i + 1] = books.others[i].demand end
	table.sort(demands)
	for i = 1, #demands do
		local part = left / (#demands - i + 1)
		if demands[i] >= part then return math.min(demand, part) end
		left = left - demands[i]
	end
	return demand
end

local function rate_share(key, returned, limit, used, missed, demand, credit, holds)
	local books = books_read(key, 1000000)
	local mine = books.mine
	if mine and mine.life == life and mine.number >= number then return mine.pace end
	books.level = level_now(books, returned, limit, used, missed, credit)
	if returned then
		books_write(key, books, nil)
		return 0
	end
	local demands, parts, pace = demand + sum(books, 'demand'), math.max(proxies, books.count + 1), 0
	local most = demands > limit and limit * 1.25 or limit
	local given = math.min(most, math.max(limit / 2, limit + books.level / 0.2))
	if now - books.since < 250000 then
		pace = math.min(holds, limit) -- newly founded: others have leases that are not written here
	elseif demands <= given then
		pace = demand + (given - demands) / parts
	else
		pace = fair_part(books, given, demand)
	end
	pace = math.floor(math.max(math.min(pace, given - sum(books, 'pace')), limit / 64 / parts, 1))
	books_write(key, books, { used, pace, demand, credit, now })
	return pace
end

-- What a proxy still may use counts until it has told that it may not.
local function count_share(key, limit, used, refused, holds)
	local books = books_read(key, 3000000)
	local mine = books.mine
	if mine and mine.life == life and mine.number >= number then return mine.demand end
	local free, part = math.max(0, limit - used - sum(books, 'used')), 0
	if now - books.since < 1250000 then
		part = math.min(holds, limit)
	else
		part = used + (refused > 0 and math.ceil(free / 2) or math.floor(free / 2 / math.max(proxies, books.count + 1)))
	end
	part = math.max(0, math.min(part, limit - sum(books, 'pace')))
	books_write(key, books, { used, math.max(part, holds), part, 0, now })
	return part
end

local answers = {}
for i = 1, #KEYS do
	local at = 4 + (i - 1) * 7
	local n = {}
	for j = 2, 7 do n[j] = tonumber(ARGV[at + j]) end
	local ok, granted
	if ARGV[at + 1] == '1' then
		ok, granted = pcall(count_share, KEYS[i], n[2], n[3], n[5], n[7])
	else
		ok, granted = pcall(rate_share, KEYS[i], ARGV[at + 1] == '2', n[2], n[3], n[4], n[5], n[6], n[7])
	end
	answers[i] = ok and string.format('%.0f', granted) or '-1'
end
return answers
