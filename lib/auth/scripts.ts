import { createHash } from 'node:crypto'

/** A Lua script with the digest that EVALSHA asks for. */
export interface Script { readonly lua: string, readonly sha: string }

/**
 * ARGV[1] is '' and the time is Redis' own, so that all instances share one clock; the tests pass a time instead.
 * `int` writes a number without exponent. `kill` needs the keys of the calling script.
 */
const PRELUDE = `
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local now = tonumber(ARGV[1]) or clock()
local function int(n) return string.format('%.0f', n) end
local function kill(session, index, tombstone, sid, reason, tombstoneMs)
  redis.call('DEL', session)
  redis.call('ZREM', index, sid)
  redis.call('SET', tombstone, reason)
  redis.call('PEXPIREAT', tombstone, int(now + tonumber(tombstoneMs)))
end
local function enlist(index, sid, idle)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', int(now))
  redis.call('ZADD', index, int(idle), sid)
  local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  redis.call('PEXPIREAT', index, int(tonumber(last[2])))
end
`

/** KEYS: session, index. ARGV: now, sid, hash, context, idleMs, absoluteMs. → {0, now, idle, absolute, authTime} */
export const CREATE = script(`
local absolute = now + tonumber(ARGV[6])
local idle = math.min(now + tonumber(ARGV[5]), absolute)
local authTime = math.floor(now / 1000)
redis.call('HSET', KEYS[1], 'gen', 0, 'cur', ARGV[3], 'prev', '', 'rot', int(now), 'idle', int(idle), 'abs', int(absolute),
  'auth', int(authTime), 'ctx', ARGV[4], 'grace', 0)
redis.call('PEXPIREAT', KEYS[1], int(idle))
enlist(KEYS[2], ARGV[2], idle)
return {0, now, idle, absolute, authTime}
`)

/**
 * The rotation state machine; MemorySessionStore.rotate is its twin.
 * KEYS: session, index, tombstone. ARGV: now, sid, generation, hash, next hash, context, graceMs, idleMs, tombstoneMs,
 * maximum of grace uses. → {status, generation, rotated, idle, absolute, authTime} or {status, reason}
 */
export const ROTATE = script(`
local s = redis.call('HMGET', KEYS[1], 'gen', 'cur', 'prev', 'rot', 'idle', 'abs', 'auth', 'ctx', 'grace')
if not s[1] then return {'gone', redis.call('GET', KEYS[3]) or ''} end
local gen, rot, idle, abs, auth = tonumber(s[1]), tonumber(s[4]), tonumber(s[5]), tonumber(s[6]), tonumber(s[7])
if now >= idle then
  kill(KEYS[1], KEYS[2], KEYS[3], ARGV[2], 'expired', ARGV[9])
  return {'expired'}
end
local presented = tonumber(ARGV[3])
local withinGrace = now - rot < tonumber(ARGV[7])
if presented == gen and ARGV[4] == s[2] then
  if gen > 0 and withinGrace then return {'coalesced', gen, rot, idle, abs, auth} end
  idle = math.min(now + tonumber(ARGV[8]), abs)
  redis.call('HSET', KEYS[1], 'gen', int(gen + 1), 'cur', ARGV[5], 'prev', s[2], 'rot', int(now), 'idle', int(idle), 'ctx', ARGV[6], 'grace', 0)
  redis.call('PEXPIREAT', KEYS[1], int(idle))
  enlist(KEYS[2], ARGV[2], idle)
  return {'rotated', gen + 1, now, idle, abs, auth}
end
if gen > 0 and presented == gen - 1 and ARGV[4] == s[3] and withinGrace and tonumber(s[9]) < tonumber(ARGV[10]) and ARGV[6] == s[8] then
  redis.call('HINCRBY', KEYS[1], 'grace', 1)
  return {'grace', gen, rot, idle, abs, auth}
end
if presented > gen then return {'ahead'} end
kill(KEYS[1], KEYS[2], KEYS[3], ARGV[2], 'reuse', ARGV[9])
return {'reuse'}
`)

/** KEYS: session, index, tombstone. ARGV: now, sid, reason, tombstoneMs. → 1 when it was alive */
export const END = script(`
local idle = redis.call('HGET', KEYS[1], 'idle')
if not idle then return 0 end
kill(KEYS[1], KEYS[2], KEYS[3], ARGV[2], ARGV[3], ARGV[4])
return now < tonumber(idle) and 1 or 0
`)

/**
 * KEYS: index, then what the keys of sessions and of tombstones begin with (as keys, so that a client's own prefix and
 * the cluster slot apply to them too). ARGV: now, reason, tombstoneMs. → the ids of those that were alive
 */
export const END_ALL = script(`
local ended = {}
for _, sid in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local idle = redis.call('HGET', KEYS[2] .. sid, 'idle')
  if idle then
    kill(KEYS[2] .. sid, KEYS[1], KEYS[3] .. sid, sid, ARGV[2], ARGV[3])
    if now < tonumber(idle) then ended[#ended + 1] = sid end
  end
end
redis.call('DEL', KEYS[1])
return ended
`)

function script (body: string): Script {
  const lua = PRELUDE + body
  return Object.freeze({ lua, sha: createHash('sha1').update(lua).digest('hex') })
}
