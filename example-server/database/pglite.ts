import { PGlite } from '@electric-sql/pglite'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { lockDirectory } from './lock.js'
import { mapDatabaseError, type Database } from './database.js'
import { SCHEMA } from './migrations.js'

/**
 * Postgres inside this process. PGlite lets two processes open one directory and then loses data, so a directory is
 * locked first. It knows no statement timeout, since a statement keeps the whole process: it is for development.
 * @param directory where to keep the data; null keeps it in memory
 * @throws DatabaseInUseError when another process has the directory open
 */
export async function openPglite (directory: string | null): Promise<Database> {
  if (directory === null) return serve(new PGlite(), () => {})
  await mkdir(dirname(directory), { recursive: true })
  const unlock = lockDirectory(directory)
  try {
    return await serve(new PGlite(directory), unlock)
  } catch (error) {
    unlock()
    throw error
  }
}

async function serve (pglite: PGlite, release: () => void): Promise<Database> {
  await pglite.exec(SCHEMA)
  return {
    async query (text, params = []) {
      try {
        const { rows } = await pglite.query<Record<string, unknown>>(text, [...params])
        return rows
      } catch (error) {
        throw mapDatabaseError(error, text)
      }
    },
    async close () {
      await pglite.close()
      release()
    },
  }
}
