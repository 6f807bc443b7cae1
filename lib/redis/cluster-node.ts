import { isCluster, type RedisClient } from './given-client.js'

/**
 * The slot of a key as the Redis Cluster specification has it: CRC-16/XMODEM of what stands in the first braces, else
 * of the whole key. Not `cluster-key-slot`, which ioredis uses: it reads past empty braces (`x{}{a}`).
 */
export function slotOf (key: string): number {
  const open = key.indexOf('{')
  const close = open === -1 ? -1 : key.indexOf('}', open + 1)
  let crc = 0
  for (const byte of Buffer.from(close > open + 1 ? key.slice(open + 1, close) : key)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  }
  return crc & 16383
}

/** Names the node that serves a key, as far as is known; '' where there is only one. */
export function nodeOf (client: RedisClient, key: string): string {
  return isCluster(client) ? client.slots[slotOf((client.options.keyPrefix ?? '') + key)]?.[0] ?? '' : ''
}
