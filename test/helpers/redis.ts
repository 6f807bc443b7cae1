import { randomBytes } from 'node:crypto'

/**
 * The Redis that `npm test` provides. Missing, it is an error and never a skip: a limiter that was only ever tested in
 * memory has not been tested.
 */
export function redisUrl (): string {
  const url = process.env['REDIS_URL']
  if (url === undefined || url === '') throw new Error('REDIS_URL is not set. Run `npm test`, which starts a Redis of its own.')
  return url
}

/** A key prefix of the test's own, so that tests share a Redis and nothing is ever flushed. */
export function uniquePrefix (): string {
  return `test:${randomBytes(8).toString('hex')}:`
}
