import { test } from 'tap'
import type { Problem } from '../../../lib/response/errors.js'
import { resolveTransport, type TransportInput } from '../../../lib/transport/resolve.js'

function pathsOf (input: TransportInput, production = false): string[] {
  const problems: Problem[] = []
  resolveTransport(input, production, problems)
  return problems.map(({ path }) => path)
}

test('proxies are addresses or CIDR ranges that do not cover everybody', async (t) => {
  const accepted = ['10.0.0.0/8', '192.0.2.1', '2001:db8::/32', '::1']
  t.same(pathsOf({ proxies: accepted }), [])
  for (
    const entry of [
      '0.0.0.0/0',
      '::/0',
      '::/64',
      '::ffff:0:0/95',
      '::ffff:0.0.0.0/96',
      'fe80::1%eth0',
      '10.0.0.0/33',
      '10.0.0/8',
      'loopback',
      '10.0.0.0/8/8',
      '10.0.0.0/',
      '10.0.0.0/-1',
      '*',
      '',
      '10.0.0.0/1e1',
    ]
  ) {
    t.same(pathsOf({ proxies: [entry] }), ['transport.proxies[0]'], entry)
  }
})

test('a trusted address is found in its range, mapped IPv4 included', async (t) => {
  const { proxies } = resolveTransport({ proxies: ['10.0.0.0/8', '2001:db8::/32'] }, false, [])
  if (proxies === null) throw new Error('no list')
  t.equal(proxies.has('10.1.2.3'), true)
  t.equal(proxies.has('::ffff:10.1.2.3'), true)
  t.equal(proxies.has('2001:db8:1::1'), true)
  t.equal(proxies.has('11.0.0.1'), false)
  t.equal(proxies.has('2001:db9::1'), false)
  t.equal(proxies.has(undefined), false)
})

test('hosts are whole names without scheme, port or wildcard', async (t) => {
  t.same(pathsOf({ hosts: ['api.example.com', '127.0.0.1', '[::1]', 'localhost', 'API.example.com'] }), [])
  for (
    const host of [
      'https://api.example.com',
      'api.example.com:443',
      '*.example.com',
      'api.example.com/x',
      'a b',
      '',
      'x@y',
      '.example.com*',
    ]
  ) {
    t.same(pathsOf({ hosts: [host] }), ['transport.hosts[0]'], host)
  }
  t.same(pathsOf({ hosts: [] }), ['transport.hosts'])
})

test('production must declare its proxies and requires HTTPS by default; development does neither', async (t) => {
  t.same(pathsOf({}, true), ['transport.proxies'])
  t.same(pathsOf({ proxies: 'none' }, true), [])
  t.equal(resolveTransport({ proxies: 'none' }, true, []).policy.https, 'require')
  t.equal(resolveTransport({}, false, []).policy.https, 'off')
})

test('a redirect needs an https origin to go to', async (t) => {
  t.same(pathsOf({ https: 'redirect' }), ['transport.publicOrigin'])
  t.same(pathsOf({ https: 'redirect', publicOrigin: 'http://api.example.com' }), ['transport.publicOrigin'])
  t.same(pathsOf({ https: 'redirect', publicOrigin: 'https://api.example.com/' }), ['transport.publicOrigin'])
  t.same(pathsOf({ https: 'redirect', publicOrigin: 'https://api.example.com' }), [])
})
