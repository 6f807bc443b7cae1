import { test } from 'tap'
import { CidrSet, parseCidr, type CidrRange } from '../../../lib/net/cidr.js'

test('an address or a range is read, and IPv4 written as IPv6 becomes IPv4', (t) => {
  const table: readonly (readonly [string, CidrRange])[] = [
    ['10.0.0.0/8', { address: '10.0.0.0', bits: 8, family: 'ipv4' }],
    ['192.0.2.1', { address: '192.0.2.1', bits: 32, family: 'ipv4' }],
    ['0.0.0.0/0', { address: '0.0.0.0', bits: 0, family: 'ipv4' }],
    ['2001:db8::/32', { address: '2001:db8::', bits: 32, family: 'ipv6' }],
    ['::1', { address: '::1', bits: 128, family: 'ipv6' }],
    ['::ffff:10.0.0.0/104', { address: '10.0.0.0', bits: 8, family: 'ipv4' }],
    ['::FFFF:a00:1', { address: '10.0.0.1', bits: 32, family: 'ipv4' }],
  ]
  for (const [text, range] of table) t.same(parseCidr(text), range, text)
  t.end()
})

test('anything else is no range', (t) => {
  for (
    const text of [
      '',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/-1',
      '10.0.0.0/8/8',
      '10.0.0/8',
      '10.0.0.0/08',
      '10.0.0.0/1e1',
      'example.com',
      '2001:db8::/129',
      'fe80::1%eth0',
      '::ffff:10.0.0.0/95',
      ' 10.0.0.1',
      '10.0.0.0/8 ',
    ]
  ) t.equal(parseCidr(text), null, JSON.stringify(text))
  t.end()
})

test('a set holds the addresses of its ranges, in whatever form they come', (t) => {
  const set = new CidrSet(['10.0.0.0/8', '2001:db8::/32'].flatMap((text) => parseCidr(text) ?? []))
  const held = ['10.255.0.1', '::ffff:10.1.2.3', '::FFFF:a01:203', '2001:db8:ffff::1', '2001:DB8::1']
  for (const address of held) t.equal(set.has(address), true, address)
  const foreign = ['11.0.0.1', '::10.1.2.3', '::ffff:11.0.0.1', '2001:db9::1', '', 'x', '10.0.0.0/8', undefined]
  for (const address of foreign) t.equal(set.has(address), false, String(address))
  t.equal(new CidrSet([]).has('10.0.0.1'), false)
  t.end()
})
