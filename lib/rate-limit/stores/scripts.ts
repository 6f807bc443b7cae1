import { createHash } from 'node:crypto'
import { LIVE_BUCKETS } from '../quota.js'

/** A Lua script and the SHA-1 by which Redis knows it. */
export interface Script { readonly lua: string, readonly sha: string }

function script (lua: string): Script {
  return Object.freeze({ lua, sha: createHash('sha1').update(lua).digest('hex') })
}

/** Stands for Redis' own clock in the first argument of `CONSUME`. */
export const REDIS_CLOCK = -1

/**
 * The Redis twin of lib/rate-limit/exact.ts and sliding.ts: both must give the same answer on the same trace.
 *
 * Every key ends one second after its last count left the window: Redis ends keys by the time the script began, which may
 * be a moment before the TIME that the stamps are made of.
 */
export const CONSUME = script(`
-- KEYS: one a limit.
-- ARGV[1]: the time in milliseconds, ${REDIS_CLOCK} for Redis' own. Then five a limit:
--   algorithm ('exact' or 'sliding'), limit, window ms, bucket ms, shadow (1 or 0)
-- Answer: admitted (1 or 0), then four a limit: room (1 or 0), used, wait ms, mark (-1 = not counted)
local LIVE = ${LIVE_BUCKETS}
local MARGIN_MS = 1000
local now = tonumber(ARGV[1])
if now == ${REDIS_CLOCK} then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function whole(number) return string.format('%.0f', number) end

local function read_exact(key, q)
  local size = redis.call('LLEN', key)
  local function stamp(index) return tonumber(redis.call('LINDEX', key, index)) end
  local at, first = now, 0
  if size > 0 then
    at = math.max(now, stamp(-1))
    -- Stamps only grow, so the first live one is found by halving.
    local low, high = 0, size
    if stamp(0) > at - q.window then high = 0 end
    while low < high do
      local middle = math.floor((low + high) / 2)
      if stamp(middle) > at - q.window then high = middle else low = middle + 1 end
    end
    first = low
  end
  q.at, q.first, q.used = at, first, size - first
  q.room = q.used < q.limit
  if not q.room then q.wait = stamp(size - q.limit) + q.window - now
  elseif q.used > 0 then q.wait = stamp(first) + q.window - now
  else q.wait = q.window end
end

local function add_exact(key, q)
  if q.first > 0 then redis.call('LTRIM', key, q.first, -1) end
  redis.call('RPUSH', key, whole(q.at))
  redis.call('PEXPIRE', key, whole(q.window + MARGIN_MS))
  if q.used == 0 then q.wait = q.at + q.window - now end
  q.mark = q.at
end

-- A hash: bucket number -> 'count:stamp of its last request'.
local function read_sliding(key, q)
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
      q.dead[#q.dead + 1] = whole(number)
      bucket.count = 0
    end
  end
  q.room = q.used < q.limit
  q.wait = q.window
  local left = q.used
  for number = q.current - LIVE + 1, q.current do
    local bucket = buckets[number]
    left = left - (bucket and bucket.count or 0)
    if left < q.used and (q.room or left < q.limit) then
      q.wait = bucket.last + q.window - now
      break
    end
  end
end

local function add_sliding(key, q)
  if #q.dead > 0 then redis.call('HDEL', key, unpack(q.dead)) end
  local bucket = q.buckets[q.current]
  redis.call('HSET', key, whole(q.current), whole((bucket and bucket.count or 0) + 1) .. ':' .. whole(q.at))
  redis.call('PEXPIRE', key, whole(q.window + MARGIN_MS))
  if q.used == 0 then q.wait = q.at + q.window - now end
  q.mark = q.current
end

local quotas, admitted = {}, 1
for i, key in ipairs(KEYS) do
  local from = (i - 1) * 5 + 2
  local q = {
    exact = ARGV[from] == 'exact', limit = tonumber(ARGV[from + 1]), window = tonumber(ARGV[from + 2]),
    bucket = tonumber(ARGV[from + 3]), shadow = ARGV[from + 4] == '1', mark = -1,
  }
  if q.exact then read_exact(key, q) else read_sliding(key, q) end
  if not q.room and not q.shadow then admitted = 0 end
  quotas[i] = q
end

local answer = { admitted }
for i, key in ipairs(KEYS) do
  local q = quotas[i]
  if admitted == 1 and q.room then
    if q.exact then add_exact(key, q) else add_sliding(key, q) end
    q.used = q.used + 1
  end
  answer[#answer + 1] = q.room and 1 or 0
  answer[#answer + 1] = q.used
  answer[#answer + 1] = q.wait
  answer[#answer + 1] = q.mark
end
return answer
`)

export const GIVE_BACK = script(`
-- KEYS: one a reservation. ARGV: two a key: algorithm, mark. No write here can create a key or change its end.
for i, key in ipairs(KEYS) do
  local mark = ARGV[i * 2]
  if ARGV[i * 2 - 1] == 'exact' then
    redis.call('LREM', key, 1, mark)
  else
    local count, last = string.match(redis.call('HGET', key, mark) or '', '^(%d+)(:%d+)$')
    if count and tonumber(count) > 0 then
      redis.call('HSET', key, mark, string.format('%.0f', tonumber(count) - 1) .. last)
    end
  end
end
return 1
`)
