import { createHash } from 'node:crypto'

/** A Lua script and the SHA-1 by which Redis knows it. */
export interface Script {
  readonly lua: string
  readonly sha: string
  /** It changes nothing after its caller's deadline. Scripts that end or forget something run late rather than never. */
  readonly expires: boolean
}

/**
 * The first lines of every script.
 *
 * ARGV[1]: the time in milliseconds; '' is Redis' own clock, which all instances share (tests pass a time).
 * ARGV[2]: the last millisecond at which the script may still run, '' for any.
 * ARGV[3]: the earliest time at which it may have been called, '' where the script does not expire.
 * The arguments of the script itself follow. Every answer begins with the time and a word.
 */
const PRELUDE = `
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Writes a whole number without an exponent.
local function whole(number) return string.format('%.0f', number) end

local function answer(word, ...)
  local list = { now, word }
  for _, part in ipairs({ ... }) do
    if type(part) == 'table' then
      for _, item in ipairs(part) do list[#list + 1] = item end
    else
      list[#list + 1] = part
    end
  end
  return list
end

if now > (tonumber(ARGV[2]) or now) then return answer('stale') end
`

export function createScript (body: string, { expires = false } = {}): Script {
  const lua = PRELUDE + body
  return Object.freeze({ lua, sha: createHash('sha1').update(lua).digest('hex'), expires })
}
