import { createHash } from 'node:crypto'
import { drainUs } from '../gcra.js'
import { NOT_COUNTED, type Quota } from '../quota.js'
import { ADD, COMMON, READ } from './lua.js'
import { WITHOUT_END } from './server-clock.js'

/** A Lua script and the SHA-1 by which Redis knows it. */
export interface Script { readonly lua: string, readonly sha: string }

function script (lua: string): Script {
  return Object.freeze({ lua, sha: createHash('sha1').update(lua).digest('hex') })
}

/** The first number of an answer, which is a text of whole numbers with a space between. */
export const REFUSED = 0
export const ADMITTED = 1
export const STALE = -1

export const NUMBERS_BEFORE_READINGS = 2
export const NUMBERS_PER_READING = 4

/** Stands for Redis' own clock where a time is asked for. */
export const REDIS_CLOCK = ''

/** For the scripts that need to know keys only. */
export const NO_QUOTAS = '[]'

/**
 * Decides all limits in one step. ARGV[3]: the last millisecond of Redis' clock at which the command may still count, 0
 * for any; a later one changes nothing and answers that it is stale.
 *
 * Answer: status, Redis' now, then four a limit: room (1, 0 or -1 = banned), used, wait ms, mark (-1 = not counted).
 */
export const CONSUME = script(`${COMMON}
local valid_until = tonumber(ARGV[3])
if valid_until > ${WITHOUT_END} and now > valid_until then return '${STALE} ' .. whole(now) end
${READ}${ADD}
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
return answer_all(admitted and ${ADMITTED} or ${REFUSED})
`)

/** Reads like `CONSUME` and writes nothing. */
export const PEEK = script(`${COMMON}${READ}
read_all()
return answer_all(${ADMITTED})
`)

/** ARGV[3] and on: one mark a key, -1 where there is nothing to give back. No write here creates a key. */
export const GIVE_BACK = script(`${COMMON}
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
  local mark = ARGV[i + 2]
  if mark ~= '${NOT_COUNTED}' then give_back[quotas[i].algorithm](key, quotas[i], mark) end
end
return 1
`)

export const RESET = script(`
for _, key in ipairs(KEYS) do redis.call('DEL', key, key .. ':b') end
return 1
`)

/** ARGV[3]: milliseconds; 0 lifts the ban. The ladder of the penalty and its refusals stay as they are. */
export const BAN = script(`${COMMON}
local ms = tonumber(ARGV[3])
for _, key in ipairs(KEYS) do
  local name = key .. ':b'
  local rest = string.match(redis.call('GET', name) or '', '^%d+(:.*)$')
  if rest or ms > 0 then
    put(name, whole(ms > 0 and now + ms or 0) .. (rest or ':0:0:'), math.max(ms, redis.call('PTTL', name) - MARGIN_MS))
  end
end
return 1
`)

/** The quotas as the scripts read them; made once for each list of quotas, since it goes out with each command. */
export function encodeQuotas (quotas: readonly Quota[]): string {
  return JSON.stringify(quotas.map(encodeQuota))
}

function encodeQuota (quota: Quota): Record<string, unknown> {
  const { algorithm, limit, windowMs, cost, shadow, penalty } = quota
  return {
    algorithm,
    limit,
    window: windowMs,
    cost,
    ...(algorithm === 'sliding' ? { bucket: quota.bucketMs } : {}),
    ...(algorithm === 'gcra' ? { burst: quota.burst, unit: drainUs(quota) } : {}),
    ...(shadow ? { shadow } : {}),
    ...(penalty === null ? {} : { penalty: { after: penalty.after, within: penalty.withinMs, bans: penalty.bansMs } }),
  }
}
