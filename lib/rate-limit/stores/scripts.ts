import { createScript } from '../../redis/script.js'
import { drainUs } from '../gcra.js'
import { NOT_COUNTED, type Quota } from '../quota.js'
import { ADD, COMMON, QUOTAS, READ } from './lua.js'

/** Decides all limits in one step. → admitted or refused, and the readings. */
export const CONSUME = createScript(`${COMMON}${QUOTAS}${READ}${ADD}
read_all()
local admitted = true
for i = 1, #KEYS do
  if not quotas[i].room and not quotas[i].shadow then admitted = false end
end
for i, key in ipairs(KEYS) do
  local q = quotas[i]
  if admitted then
    if q.room then add_one(key, q) end
  elseif q.penalty and not q.room and not q.banned and not q.shadow then
    add_refusal(key, q)
  end
end
return answer_all(admitted and 'admitted' or 'refused')
`, { expires: true })

/** Reads like `CONSUME` and writes nothing. */
export const PEEK = createScript(`${COMMON}${QUOTAS}${READ}
read_all()
return answer_all('read')
`)

/** ARGV[5] and on: one mark a key, -1 where there is nothing to give back. No write here creates a key. */
export const GIVE_BACK = createScript(`${COMMON}${QUOTAS}
local give_back = {}

function give_back.exact(key, q, mark) redis.call('LREM', key, q.cost, mark) end

function give_back.sliding(key, q, mark)
  local count, last = string.match(redis.call('HGET', key, mark) or '', '^(%d+)(:%d+)$')
  if count then redis.call('HSET', key, mark, whole(math.max(0, tonumber(count) - q.cost)) .. last) end
end

function give_back.gcra(key, q)
  local tat = tonumber(redis.call('GET', key) or '')
  if not tat or tat <= now_us then return end
  local left = math.max(0, tat - q.cost * q.unit - now_us)
  put(key, whole(now_us + left), math.ceil(left / 1000))
end

function give_back.fixed(key, q, mark)
  local number, count = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
  if number ~= mark then return end
  local left = (tonumber(number) + 1) * q.window - now
  put(key, number .. ':' .. whole(math.max(0, tonumber(count) - q.cost)), math.max(0, math.min(left, q.window)))
end

for i, key in ipairs(KEYS) do
  local mark = ARGV[i + 4]
  if mark ~= '${NOT_COUNTED}' then give_back[quotas[i].algorithm](key, quotas[i], mark) end
end
return answer('done')
`)

export const RESET = createScript(`
for _, key in ipairs(KEYS) do redis.call('DEL', key, key .. ':b') end
return answer('done')
`)

/** ARGV[4]: milliseconds; 0 lifts the ban. The ladder of the penalty and its refusals stay as they are. */
export const BAN = createScript(`${COMMON}
local ms = tonumber(ARGV[4])
for _, key in ipairs(KEYS) do
  local name = key .. ':b'
  local rest = string.match(redis.call('GET', name) or '', '^%d+(:.*)$')
  if rest or ms > 0 then
    put(name, whole(ms > 0 and now + ms or 0) .. (rest or ':0:0:'), math.max(ms, redis.call('PTTL', name) - MARGIN_MS))
  end
end
return answer('done')
`)

const encoded = new WeakMap<Quota, string>()

/** The quotas as the scripts read them. */
export function encodeQuotas (quotas: readonly Quota[]): string {
  return `[${quotas.map(encodeQuota).join()}]`
}

function encodeQuota (quota: Quota): string {
  const known = encoded.get(quota)
  if (known !== undefined) return known
  const { algorithm, limit, windowMs, cost, shadow, penalty } = quota
  const text = JSON.stringify({
    algorithm,
    limit,
    window: windowMs,
    cost,
    ...(algorithm === 'sliding' ? { bucket: quota.bucketMs } : {}),
    ...(algorithm === 'gcra' ? { burst: quota.burst, unit: drainUs(quota) } : {}),
    ...(shadow ? { shadow } : {}),
    ...(penalty === null ? {} : { penalty: { after: penalty.after, within: penalty.withinMs, bans: penalty.bansMs } }),
  })
  encoded.set(quota, text)
  return text
}
