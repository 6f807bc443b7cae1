import type { IncomingMessage } from 'node:http'
import { test } from 'tap'
import { resolveTransport } from '../../../lib/transport/resolve.js'
import { createProxyTripwire } from '../../../lib/transport/tripwire.js'

const PROXIES = resolveTransport({ proxies: ['10.0.0.0/8'] }, false, []).proxies

function from (remoteAddress: string | undefined, headers: Record<string, string>): IncomingMessage {
  return { headers, socket: { remoteAddress } } as unknown as IncomingMessage
}

test('each header by which a proxy speaks is noticed from an address that is no declared proxy', async (t) => {
  for (const header of ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'forwarded']) {
    t.equal(createProxyTripwire(null)(from('192.0.2.1', { [header]: '' })), header, `${header} without proxies`)
    t.equal(createProxyTripwire(PROXIES)(from('192.0.2.1', { [header]: 'x' })), header, `${header} from outside`)
    t.equal(
      createProxyTripwire(PROXIES)(from(undefined, { [header]: 'x' })),
      header,
      `${header} from an unknown address`,
    )
    t.equal(createProxyTripwire(PROXIES)(from('10.1.2.3', { [header]: 'x' })), null, `${header} from a proxy`)
    t.equal(
      createProxyTripwire(PROXIES)(from('::ffff:10.1.2.3', { [header]: 'x' })),
      null,
      `${header} from a mapped proxy`,
    )
  }
  t.equal(createProxyTripwire(null)(from('192.0.2.1', { 'x-real-ip': '1.1.1.1' })), null)
})

test('one notice a minute, whoever sends how many, and a declared proxy does not use it up', async (t) => {
  let time = 0
  const notice = createProxyTripwire(PROXIES, () => time)
  const lie = { 'x-forwarded-for': '203.0.113.9' }
  t.equal(notice(from('10.0.0.1', lie)), null)
  t.equal(notice(from('192.0.2.1', lie)), 'x-forwarded-for')
  for (time of [0, 1, 59_999]) t.equal(notice(from(`192.0.2.${time % 200}`, lie)), null, String(time))
  time = 60_000
  t.equal(notice(from('192.0.2.1', { forwarded: 'for=x' })), 'forwarded')
  t.equal(notice(from('192.0.2.1', lie)), null)
})

test('a request without such headers never reads the clock', async (t) => {
  const notice = createProxyTripwire(null, () => { t.fail('read the clock'); return 0 })
  t.equal(notice(from('192.0.2.1', { host: 'x', accept: '*/*' })), null)
})
