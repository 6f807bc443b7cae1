import { createHash } from 'node:crypto'
import { LIMITED, PRELUDE } from './lua.js'

/** A Lua script with the digest that EVALSHA asks for. */
export interface Script { readonly lua: string, readonly sha: string }

/** Stands for Redis' own clock where a time is asked for. */
export const REDIS_CLOCK = ''

/** A session's state in the order in which `stateOf` reads it. */
const STATE = 'gen, cur, int(rot), int(idle), int(abs), int(auth), amr, int(m.tv)'

export const CLOCK = script('return answer(\'clock\')')

/**
 * ARGV from 5: sid, valid until, checked at ('' when nobody asks), hash, context, label, methods, idleMs, maximum, what
 * a full one does, then the ids that it replaces. → created + state + (id, reason)…, full, revoked, stale
 */
export const CREATE = script(`${LIMITED}
local sid, checked_at, maximum = ARGV[5], tonumber(ARGV[7]), tonumber(ARGV[13])
local m = read_marks() or new_marks(sid)
-- Both times are rounded down: what may have been in the same millisecond counts as before.
if checked_at and m.nbe > 0 and m.nbe + 1 > checked_at then return answer('revoked') end
local replaces, is_replaced = {}, {}
for i = 15, #ARGV do replaces[#replaces + 1], is_replaced[ARGV[i]] = ARGV[i], true end
local ended, staying = {}, {}
for _, id in ipairs(ids_with(replaces)) do
  local s = read_session(id)
  if is_alive(s, m) then
    if is_replaced[id] then ended[#ended + 1] = { id, 'login' } else staying[#staying + 1] = { id, s.rot } end
  end
end
local excess = #staying + 1 - maximum
if excess > 0 then
  if ARGV[14] == 'refuse' then return answer('full') end
  table.sort(staying, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
  for i = 1, excess do ended[#ended + 1] = { staying[i][1], 'evicted' } end
end
local abs = now + absolute_ms
local gen, cur, rot, idle, auth, amr = 0, ARGV[8], now, math.min(now + tonumber(ARGV[12]), abs), math.floor(now / 1000), ARGV[11]
-- First, so that a full Redis refuses the login before anything has ended.
redis.call('HSET', SESSION .. sid, 'gen', gen, 'cur', cur, 'prev', '', 'rot', int(rot), 'idle', int(idle), 'abs', int(abs), 'auth', int(auth),
  'ctx', ARGV[9], 'grace', 0, 'created', int(now), 'label', ARGV[10], 'amr', amr, 'nbe', int(m.nbe), 'born', m.born)
enlist(sid, idle)
write_marks(m)
local ids, list = {}, {}
for i, entry in ipairs(ended) do
  kill(entry[1], entry[2])
  ids[i], list[2 * i - 1], list[2 * i] = entry[1], entry[1], entry[2]
end
tell(ids)
return answer('created', ${STATE}, list)
`)

/**
 * ARGV from 5: sid, valid until, generation, hash, next hash, context, graceMs, idleMs, maximum of grace uses, what
 * reuse ends.
 * → rotated, coalesced or grace + state; reuse + ids; gone + reason; expired, ahead, stale
 */
export const ROTATE = script(`${LIMITED}
local sid = ARGV[5]
local key = SESSION .. sid
local s = redis.call('HMGET', key, 'gen', 'cur', 'prev', 'rot', 'idle', 'abs', 'auth', 'ctx', 'grace', 'amr', 'nbe', 'born')
if not s[1] then return answer('gone', redis.call('GET', TOMBSTONE .. sid) or '') end
local gen, cur, rot, idle, abs, auth, amr = tonumber(s[1]), s[2], tonumber(s[4]), tonumber(s[5]), tonumber(s[6]), tonumber(s[7]), s[10]
local m = read_marks()
if now >= idle then
  kill(sid, 'expired')
  tell({ sid })
  return answer('expired')
end
if is_revoked({ nbe = tonumber(s[11]), born = s[12] }, m) then
  kill(sid, 'revoked')
  tell({ sid })
  return answer('gone', 'revoked')
end
local presented = tonumber(ARGV[7])
local within_grace = now - rot < tonumber(ARGV[11])
if presented == gen and ARGV[8] == cur then
  if gen > 0 and within_grace then return answer('coalesced', ${STATE}) end
  gen, rot, idle = gen + 1, now, math.min(now + tonumber(ARGV[12]), abs)
  redis.call('HSET', key, 'gen', int(gen), 'cur', ARGV[9], 'prev', cur, 'rot', int(rot), 'idle', int(idle), 'ctx', ARGV[10], 'grace', 0)
  enlist(sid, idle)
  cur = ARGV[9]
  return answer('rotated', ${STATE})
end
if gen > 0 and presented == gen - 1 and ARGV[8] == s[3] and within_grace and tonumber(s[9]) < tonumber(ARGV[13]) and ARGV[10] == s[8] then
  redis.call('HINCRBY', key, 'grace', 1)
  return answer('grace', ${STATE})
end
if presented > gen then return answer('ahead') end
kill(sid, 'reuse')
local ended = ARGV[14] == 'user' and end_all(m, 'reuse') or {}
table.insert(ended, 1, sid)
tell(ended)
return answer('reuse', ended)
`)

/** ARGV from 5: sid, token version. → alive, outdated, ended */
export const CHECK = script(`
local m = read_marks()
if not is_alive(read_session(ARGV[5]), m) then return answer('ended') end
return answer(tonumber(ARGV[6]) < m.tv and 'outdated' or 'alive')
`)

/** → sessions + (id, created, rotated, idle, absolute, label, methods)… */
export const LIST = script(`
local m, found = read_marks(), {}
for _, sid in ipairs(redis.call('ZRANGE', INDEX, 0, -1)) do
  if is_alive(read_session(sid), m) then
    found[#found + 1] = sid
    for _, value in ipairs(redis.call('HMGET', SESSION .. sid, 'created', 'rot', 'idle', 'abs', 'label', 'amr')) do found[#found + 1] = value end
  end
end
return answer('sessions', found)
`)

/** ARGV from 5: sid, reason. → ended when it was alive, else dead */
export const END = script(`
local s = read_session(ARGV[5])
if not s then return answer('dead') end
local alive = is_alive(s, read_marks())
kill(ARGV[5], ARGV[6])
if not alive then return answer('dead') end
tell({ ARGV[5] })
return answer('ended')
`)

/** ARGV from 5: the id that stays or '', reason. → ended + the ids of those that were alive */
export const END_ALL = script(`
local ended = end_all(read_marks(), ARGV[6], ARGV[5] ~= '' and ARGV[5] or nil)
tell(ended)
return answer('ended', ended)
`)

/** → outdated + the ids of the sessions */
export const OUTDATE = script(`
tidy_index()
local m = read_marks() or new_marks('o' .. int(now))
m.tv = math.max(m.tv + 1, now)
write_marks(m)
local ids = redis.call('ZRANGE', INDEX, 0, -1)
tell(ids)
return answer('outdated', ids)
`)

function script (body: string): Script {
  const lua = PRELUDE + body
  return Object.freeze({ lua, sha: createHash('sha1').update(lua).digest('hex') })
}
