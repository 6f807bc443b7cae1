import { createScript, type Script } from '../redis/script.js'
import { COMMON } from './lua.js'

/** A session's state in the order in which `stateOf` reads it. */
const STATE = 'gen, cur, whole(rot), whole(idle), whole(abs), whole(auth), amr, whole(m.tv)'

/**
 * The age is that of the credentials' check, 0 where it does not matter; the ids that the session replaces follow.
 * → created + state + (id, reason)…, full, revoked
 */
export const CREATE = script(`
local sid, age, hash, context, label, methods, idle_ms, maximum, when_full = unpack(ARGV, 7, 15)
local m = read_marks() or new_marks(sid)
-- Counted back from when the script was called, not from when Redis reaches it: a user who is revoked in between would
-- slip through. Times are rounded down: what may have been in the same millisecond counts as before.
local checked_at = tonumber(ARGV[3]) - tonumber(age)
if tonumber(age) > 0 and m.nbe > 0 and m.nbe + 1 > checked_at then return answer('revoked') end
local replaces, is_replaced = {}, {}
for i = 16, #ARGV do replaces[#replaces + 1], is_replaced[ARGV[i]] = ARGV[i], true end
local ended, staying = {}, {}
for _, id in ipairs(ids_with(replaces)) do
  local s = read_session(id)
  if is_alive(s, m) then
    if is_replaced[id] then ended[#ended + 1] = { id, 'login' } else staying[#staying + 1] = { id, s.rot } end
  end
end
local excess = #staying + 1 - tonumber(maximum)
if excess > 0 then
  if when_full == 'refuse' then return answer('full') end
  table.sort(staying, function(a, b) return a[2] < b[2] or a[2] == b[2] and a[1] < b[1] end)
  for i = 1, excess do ended[#ended + 1] = { staying[i][1], 'evicted' } end
end
local abs = now + absolute_ms
local idle = math.min(now + tonumber(idle_ms), abs)
local gen, cur, rot, auth, amr = 0, hash, now, math.floor(now / 1000), methods
-- First, so that a full Redis refuses the login before anything has ended.
redis.call('HSET', SESSION .. sid, 'gen', gen, 'cur', cur, 'prev', '', 'rot', whole(rot), 'idle', whole(idle),
  'abs', whole(abs), 'auth', whole(auth), 'ctx', context, 'grace', 0, 'created', whole(now), 'label', label,
  'amr', amr, 'nbe', whole(m.nbe), 'born', m.born)
enlist(sid, idle)
write_marks(m)
local ids, list = {}, {}
for i, entry in ipairs(ended) do
  kill(entry[1], entry[2])
  ids[i], list[2 * i - 1], list[2 * i] = entry[1], entry[1], entry[2]
end
tell(ids)
return answer('created', ${STATE}, list)
`, { expires: true })

/** → rotated, coalesced or grace + state; reuse + ids; gone + reason; expired, ahead */
export const ROTATE = script(`
local sid, presented, hash, next_hash, context, grace_ms, idle_ms, max_uses, on_reuse = unpack(ARGV, 7, 15)
local key = SESSION .. sid
local s = redis.call('HMGET', key,
  'gen', 'cur', 'prev', 'rot', 'idle', 'abs', 'auth', 'ctx', 'grace', 'amr', 'nbe', 'born')
if not s[1] then return answer('gone', redis.call('GET', TOMBSTONE .. sid) or '') end
local gen, cur, rot, idle = tonumber(s[1]), s[2], tonumber(s[4]), tonumber(s[5])
local abs, auth, amr = tonumber(s[6]), tonumber(s[7]), s[10]
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
presented = tonumber(presented)
local within_grace = now - rot < tonumber(grace_ms)
if presented == gen and hash == cur then
  if gen > 0 and within_grace then return answer('coalesced', ${STATE}) end
  gen, rot, idle = gen + 1, now, math.min(now + tonumber(idle_ms), abs)
  redis.call('HSET', key, 'gen', whole(gen), 'cur', next_hash, 'prev', cur, 'rot', whole(rot), 'idle', whole(idle),
    'ctx', context, 'grace', 0)
  enlist(sid, idle)
  cur = next_hash
  return answer('rotated', ${STATE})
end
local is_previous = gen > 0 and presented == gen - 1 and hash == s[3] and context == s[8]
if is_previous and within_grace and tonumber(s[9]) < tonumber(max_uses) then
  redis.call('HINCRBY', key, 'grace', 1)
  return answer('grace', ${STATE})
end
if presented > gen then return answer('ahead') end
kill(sid, 'reuse')
local ended = on_reuse == 'user' and end_all(m, 'reuse') or {}
table.insert(ended, 1, sid)
tell(ended)
return answer('reuse', ended)
`, { expires: true })

/** → alive, outdated, ended */
export const CHECK = script(`
local sid, version = unpack(ARGV, 7, 8)
local m = read_marks()
if not is_alive(read_session(sid), m) then return answer('ended') end
return answer(tonumber(version) < m.tv and 'outdated' or 'alive')
`)

/** → sessions + (id, created, rotated, idle, absolute, label, methods)… */
export const LIST = script(`
local m, found = read_marks(), {}
for _, sid in ipairs(redis.call('ZRANGE', INDEX, 0, -1)) do
  if is_alive(read_session(sid), m) then
    found[#found + 1] = sid
    local info = redis.call('HMGET', SESSION .. sid, 'created', 'rot', 'idle', 'abs', 'label', 'amr')
    for _, value in ipairs(info) do found[#found + 1] = value end
  end
end
return answer('sessions', found)
`)

/** → ended when it was alive, else dead */
export const END = script(`
local sid, reason = unpack(ARGV, 7, 8)
local s = read_session(sid)
if not s then return answer('dead') end
local alive = is_alive(s, read_marks())
kill(sid, reason)
if not alive then return answer('dead') end
tell({ sid })
return answer('ended')
`)

/** The id that stays, or ''. → ended + the ids of those that were alive */
export const END_ALL = script(`
local except, reason = unpack(ARGV, 7, 8)
local ended = end_all(read_marks(), reason, except ~= '' and except or nil)
tell(ended)
return answer('ended', ended)
`)

/** → outdated + the ids of the sessions */
export const OUTDATE = script(`
tidy_index()
local m = read_marks() or new_marks('o' .. whole(now))
m.tv = math.max(m.tv + 1, now)
write_marks(m)
local ids = redis.call('ZRANGE', INDEX, 0, -1)
tell(ids)
return answer('outdated', ids)
`)

function script (body: string, options: Parameters<typeof createScript>[1] = {}): Script {
  return createScript(COMMON + body, options)
}
