/**
 * MemorySessionStore is the twin of these scripts: both give the same answers.
 *
 * KEYS of all of them: the user's marks, the index of their sessions, and what the keys of sessions and of tombstones
 * begin with (as keys, so that a client's own prefix and the cluster slot apply to them too). ARGV, after those of
 * every script: channel, tombstoneMs, absoluteMs; from 7 on what the script is about.
 *
 * The marks stand whenever a session can live, and each session remembers by `born` which ones it was opened under: if
 * Redis evicts them, the revocations in them are forgotten, so the sessions are dead too. A session is kept a
 * tombstone's time longer than it lives, to be told as expired. The index is a convenience; whether a session lives, it
 * does not decide.
 */
export const COMMON = `
local MARKS, INDEX, SESSION, TOMBSTONE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CHANNEL, tombstone_ms, absolute_ms = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])

local function read_marks()
  local m = redis.call('HMGET', MARKS, 'born', 'tv', 'nbe', 'until')
  if m[1] then return { born = m[1], tv = tonumber(m[2]), nbe = tonumber(m[3]), ends = tonumber(m[4]) } end
end

local function new_marks(born) return { born = born, tv = 0, nbe = 0, ends = 0 } end

local function write_marks(m)
  m.ends = math.max(m.ends, now + absolute_ms + tombstone_ms)
  redis.call('HSET', MARKS, 'born', m.born, 'tv', whole(m.tv), 'nbe', whole(m.nbe), 'until', whole(m.ends))
  redis.call('PEXPIREAT', MARKS, whole(m.ends))
end

local function read_session(sid)
  local s = redis.call('HMGET', SESSION .. sid, 'idle', 'rot', 'nbe', 'born')
  if s[1] then return { idle = tonumber(s[1]), rot = tonumber(s[2]), nbe = tonumber(s[3]), born = s[4] } end
end

local function is_revoked(s, m) return not m or s.born ~= m.born or s.nbe < m.nbe end

local function is_alive(s, m) return s and now < s.idle and not is_revoked(s, m) end

local function kill(sid, reason)
  redis.call('DEL', SESSION .. sid)
  redis.call('ZREM', INDEX, sid)
  redis.call('SET', TOMBSTONE .. sid, reason)
  redis.call('PEXPIREAT', TOMBSTONE .. sid, whole(now + tombstone_ms))
end

-- Also the first write of what must work on a full Redis: a script that has begun by removing may go on adding.
local function tidy_index() redis.call('ZREMRANGEBYSCORE', INDEX, '-inf', whole(now)) end

local function enlist(sid, idle)
  tidy_index()
  redis.call('PEXPIREAT', SESSION .. sid, whole(idle + tombstone_ms))
  redis.call('ZADD', INDEX, whole(idle + tombstone_ms), sid)
  local last = redis.call('ZREVRANGE', INDEX, 0, 0, 'WITHSCORES')
  redis.call('PEXPIREAT', INDEX, whole(tonumber(last[2])))
end

-- The ids in the index, and these, which must be found also when Redis has evicted it.
local function ids_with(more)
  local ids, seen = redis.call('ZRANGE', INDEX, 0, -1), {}
  for _, sid in ipairs(ids) do seen[sid] = true end
  for _, sid in ipairs(more) do
    if not seen[sid] then ids[#ids + 1], seen[sid] = sid, true end
  end
  return ids
end

-- An accelerator only: a user that may not publish gets an error here, which is dropped.
local function tell(ids)
  if #ids > 0 then redis.pcall('PUBLISH', CHANNEL, table.concat(ids, ' ')) end
end

local function end_all(m, reason, except)
  tidy_index()
  local before = m or new_marks('e' .. whole(now))
  local nbe, ended = math.max(before.nbe + 1, now), {}
  for _, sid in ipairs(ids_with(except and { except } or {})) do
    local s = read_session(sid)
    local alive = is_alive(s, m)
    if alive and sid == except then
      redis.call('HSET', SESSION .. sid, 'nbe', whole(nbe))
      enlist(sid, s.idle)
    elseif s then
      kill(sid, reason)
      if alive then ended[#ended + 1] = sid end
    else
      redis.call('ZREM', INDEX, sid)
    end
  end
  before.nbe = nbe
  write_marks(before)
  return ended
end
`
