import { availableParallelism } from 'node:os'
import type { Machine } from './options.js'

/** As libuv reads its pool's size: 4 without the variable, at least 1, at most 1,024. */
export function readMachine (poolSize = process.env['UV_THREADPOOL_SIZE'], cores = availableParallelism()): Machine {
  const written = poolSize === undefined ? 4 : Number.parseInt(poolSize, 10)
  return { cores, threads: Math.min(Math.max(Number.isNaN(written) ? 1 : written, 1), 1024) }
}
