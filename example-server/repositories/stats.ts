import type { Database } from '../database/database.js'
import { integer } from '../database/rows.js'

export interface Stats { readonly users: number, readonly projects: number }

/** Totals only: nothing in them belongs to anybody. */
export async function readStats (database: Database): Promise<Stats> {
  const [row] = await database.query(
    'select (select count(*)::int from users) as users, (select count(*)::int from projects) as projects',
  )
  return { users: integer(row?.['users']), projects: integer(row?.['projects']) }
}
