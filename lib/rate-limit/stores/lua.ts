import { LIVE_BUCKETS } from '../quota.js'

/**
 * Pieces of the scripts: the Redis twins of lib/rate-limit/{exact,sliding,gcra,fixed,penalty}.ts. Both must give the
 * same answer on the same trace.
 *
 * Every key ends one second after its last count left the window: Redis ends keys by the time the script began, which
 * may be a moment before the TIME that the stamps are made of.
 */
export const COMMON = `
local now_us = now * 1000
local MARGIN_MS = 1000
local function put(key, value, ttl) redis.call('SET', key, value, 'PX', ttl + MARGIN_MS) end
`

/** ARGV[4]: the quotas as JSON, one a key. */
export const QUOTAS = `
local quotas = cjson.decode(ARGV[4])
`

export const READ: string = `
local read = {}

-- A list of stamps, oldest first.
function read.exact(key, q)
  local size = redis.call('LLEN', key)
  local function stamp(index) return tonumber(redis.call('LINDEX', key, index)) end
  local at, first, oldest = now, 0, now
  if size > 0 then
    at, oldest = math.max(now, stamp(-1)), stamp(0)
    if oldest <= at - q.window then
      -- Stamps only grow, so the first live one is found by halving.
      local low, high = 1, size
      while low < high do
        local middle = math.floor((low + high) / 2)
        if stamp(middle) > at - q.window then high = middle else low = middle + 1 end
      end
      first = low
      if first < size then oldest = stamp(first) end
    end
  end
  q.at, q.first, q.used = at, first, size - first
  q.room = q.used + q.cost <= q.limit
  if not q.room then q.wait = (stamp(size + q.cost - q.limit - 1) or now) + q.window - now
  elseif q.used > 0 then q.wait = oldest + q.window - now
  else q.wait = q.window end
end

-- A hash: bucket number -> 'count:stamp of its last request'.
function read.sliding(key, q)
  local fields = redis.call('HGETALL', key)
  local buckets, at = {}, now
  for i = 1, #fields, 2 do
    local count, last = string.match(fields[i + 1], '^(%d+):(%d+)$')
    local bucket = { count = tonumber(count), last = tonumber(last) }
    buckets[tonumber(fields[i])] = bucket
    at = math.max(at, bucket.last)
  end
  q.at, q.current, q.buckets, q.dead, q.used = at, math.floor(at / q.bucket), buckets, {}, 0
  for number, bucket in pairs(buckets) do
    if bucket.last > at - q.window then
      q.used = q.used + bucket.count
    else
      q.dead[#q.dead + 1] = number
      bucket.count = 0
    end
  end
  q.room = q.used + q.cost <= q.limit
  q.wait = q.window
  local left = q.used
  for number = q.current - ${LIVE_BUCKETS} + 1, q.current do
    local bucket = buckets[number]
    left = left - (bucket and bucket.count or 0)
    if left < q.used and (q.room or left + q.cost <= q.limit) then
      q.wait = bucket.last + q.window - now
      break
    end
  end
end

-- A string: the theoretical arrival time in microseconds.
local function wait_for_next(q)
  if q.used == 0 then return q.window end
  return math.ceil((q.queue - (q.used - 1) * q.unit) / 1000)
end

function read.gcra(key, q)
  q.queue = math.max(0, (tonumber(redis.call('GET', key) or '') or 0) - now_us)
  q.used = math.ceil(q.queue / q.unit)
  local excess = q.queue + q.cost * q.unit - q.burst * q.unit
  q.room = excess <= 0
  if q.room then q.wait = wait_for_next(q) else q.wait = math.ceil(excess / 1000) end
end

-- A string: 'number of the window:count'.
function read.fixed(key, q)
  local number, count = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
  number = tonumber(number) or 0
  q.number = math.max(math.floor(now / q.window), number)
  q.used = number == q.number and tonumber(count) or 0
  q.room = q.used + q.cost <= q.limit
  q.wait = q.used == 0 and q.window or (q.number + 1) * q.window - now
end

-- Beside each key one for the penalty, in the same hash tag: 'banned until:bans:forget at:refusals'.
local BAN = '^(%d+):(%d+):(%d+):([%d,]*)$'
local function read_bans(keys)
  local names = {}
  for i, key in ipairs(keys) do names[i] = key .. ':b' end
  return redis.call('MGET', unpack(names))
end

local function apply_ban(q, raw)
  if not raw then return end
  local ends, bans, forget, refusals = string.match(raw, BAN)
  q.ban = { ends = tonumber(ends), bans = tonumber(bans), forget = tonumber(forget), refusals = refusals }
  if now >= q.ban.ends then return end
  local left = q.ban.ends - now
  q.wait = q.room and left or math.max(q.wait, left)
  q.room, q.banned = false, true
end

local function read_all()
  local bans = read_bans(KEYS)
  for i, key in ipairs(KEYS) do
    local q = quotas[i]
    q.mark = -1
    read[q.algorithm](key, q)
    apply_ban(q, bans[i])
  end
end

-- Four numbers a limit: room (1, 0 or -1 = banned), used, wait ms, mark (-1 = not counted).
local function answer_all(status)
  local readings = {}
  for i, q in ipairs(quotas) do
    local at = #readings
    readings[at + 1] = q.room and 1 or q.banned and -1 or 0
    readings[at + 2], readings[at + 3], readings[at + 4] = q.used, q.wait, q.mark
  end
  return answer(status, readings)
end
`

export const ADD: string = `
local add = {}

function add.exact(key, q)
  if q.first > 0 then redis.call('LTRIM', key, q.first, -1) end
  if q.cost == 1 then
    redis.call('RPUSH', key, q.at)
  else
    local stamps = {}
    for unit = 1, q.cost do stamps[unit] = q.at end
    redis.call('RPUSH', key, unpack(stamps))
  end
  redis.call('PEXPIRE', key, q.window + MARGIN_MS)
  if q.used == 0 then q.wait = q.at + q.window - now end
  q.mark = q.at
end

function add.sliding(key, q)
  if #q.dead > 0 then redis.call('HDEL', key, unpack(q.dead)) end
  local bucket = q.buckets[q.current]
  redis.call('HSET', key, q.current, whole((bucket and bucket.count or 0) + q.cost) .. ':' .. whole(q.at))
  redis.call('PEXPIRE', key, q.window + MARGIN_MS)
  if q.used == 0 then q.wait = q.at + q.window - now end
  q.mark = q.current
end

function add.gcra(key, q)
  q.queue = q.queue + q.cost * q.unit
  q.mark = now
  put(key, whole(now_us + q.queue), math.ceil(q.queue / 1000))
end

function add.fixed(key, q)
  local left = (q.number + 1) * q.window - now
  put(key, whole(q.number) .. ':' .. whole(q.used + q.cost), math.min(left, q.window))
  q.wait, q.mark = left, q.number
end

local function add_one(key, q)
  add[q.algorithm](key, q)
  q.used = q.used + q.cost
  if q.algorithm == 'gcra' then q.wait = wait_for_next(q) end
end

local function add_refusal(key, q)
  local penalty, ban = q.penalty, q.ban or { ends = 0, bans = 0, forget = 0, refusals = '' }
  local stamps, live = {}, {}
  for stamp in string.gmatch(ban.refusals, '%d+') do stamps[#stamps + 1] = tonumber(stamp) end
  local at = math.max(now, stamps[#stamps] or now)
  for _, stamp in ipairs(stamps) do
    if stamp > at - penalty.within then live[#live + 1] = whole(stamp) end
  end
  live[#live + 1] = whole(at)
  if #live >= penalty.after then
    local earlier = now < ban.forget and ban.bans or 0
    ban.ends = now + penalty.bans[math.min(earlier + 1, #penalty.bans)]
    ban.bans, ban.forget, live = earlier + 1, ban.ends + penalty.within, {}
    q.wait = math.max(q.wait, ban.ends - now)
  end
  local value = table.concat({ whole(ban.ends), whole(ban.bans), whole(ban.forget), table.concat(live, ',') }, ':')
  put(key .. ':b', value, math.max(ban.forget - now, penalty.within))
end
`
