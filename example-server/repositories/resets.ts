import { createHash, randomBytes } from 'node:crypto'
import type { Database } from '../database/database.js'
import { text } from '../database/rows.js'

/** How long the link in an e-mail works (OWASP Forgot Password Cheat Sheet: short, and once). */
export const RESET_MINUTES = 30

/** Tokens by which someone who forgot a password chooses another one. The database holds their hashes only. */
export interface Resets {
  /** A new token for the user; the ones before it stop working. */
  create (userId: string): Promise<string>
  /** The user a token was made for, once; null when it is unknown, used or too old. */
  redeem (token: string): Promise<string | null>
}

export function createResets (database: Database): Resets {
  return {
    async create (userId) {
      const token = randomBytes(32).toString('base64url')
      await database.query('delete from password_resets where user_id = $1 or expires_at < now()', [userId])
      await database.query(
        `insert into password_resets (token_hash, user_id, expires_at)
          values ($1, $2, now() + make_interval(mins => $3))`,
        [hashOf(token), userId, RESET_MINUTES],
      )
      return token
    },
    async redeem (token) {
      // One statement: of two requests with one token only one gets the row.
      const [row] = await database.query(
        'delete from password_resets where token_hash = $1 and expires_at >= now() returning user_id',
        [hashOf(token)],
      )
      return row === undefined ? null : text(row['user_id'])
    },
  }
}

/** 256 random bits need no slow hash. */
function hashOf (token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
