import { readFileSync, rmSync, writeFileSync } from 'node:fs'

/** Another process works in the PGlite directory. The message is fit for a terminal. */
export class DatabaseInUseError extends Error {
  override readonly name = 'DatabaseInUseError'

  constructor (directory: string, pid: number) {
    super(
      `Process ${pid} has the database in ${directory} open. ` +
        'Stop the server first, or use Postgres (DATABASE_URL), which serves many processes.',
    )
  }
}

/**
 * Claims a directory for this process by a file beside it that holds the process id; the file of a process that is gone
 * does not count. This guards a developer against a second terminal, it is no lock for production.
 * @returns what gives the directory free again
 * @throws DatabaseInUseError
 */
export function lockDirectory (directory: string): () => void {
  const file = `${directory}.lock`
  if (!claim(file)) {
    const owner = Number(readFileSync(file, 'utf8'))
    if (isAlive(owner)) throw new DatabaseInUseError(directory, owner)
    rmSync(file, { force: true })
    if (!claim(file)) throw new DatabaseInUseError(directory, Number(readFileSync(file, 'utf8')))
  }
  return () => { rmSync(file, { force: true }) }
}

function claim (file: string): boolean {
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

function isAlive (pid: number): boolean {
  // After a crash a container may give the next process the same id: a file with our own id is left over.
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
