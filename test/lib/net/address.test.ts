import { isIPv6 } from 'node:net'
import { test } from 'tap'
import { addressPrefix, unmappedAddress } from '../../../lib/net/address.js'
import { seeded } from '../rate-limit/traces.js'

test('an address is reduced to what one subscriber cannot change', (t) => {
  const table: readonly (readonly [string, string])[] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['0000:0000:0000:0000:0000:ffff:c000:0201', '192.0.2.1'],
    ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002:0003:0004:0005:0006', '2001:db8:1:2::/64'],
    ['2001:db8:1:3::1', '2001:db8:1:3::/64'],
    ['2001:db8::', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['fe80::1%eth1', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['1:2:3:4:5:6:7::', '1:2:3:4::/64'],
    ['::2:3:4:5:6:7:8', '0:2:3:4::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ]
  for (const [address, prefix] of table) t.equal(addressPrefix(address), prefix, address)
  t.end()
})

test('text that is no address stays as it is', (t) => {
  for (
    const text of [
      '',
      'unknown',
      ':',
      ':::',
      '1:2',
      '1::2::3',
      '12345::',
      'g::1',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4:5:6:7:8::',
      '1:2:3:4:5:6:7:',
      '::1:',
      '::ffff:1.2.3',
      '::ffff:1.2.3.256',
      '::ffff:1.2.3.04',
      '::1.2.3.4:1',
      '[::1]:80',
      '1.2.3.4:80',
    ]
  ) {
    t.equal(addressPrefix(text), text, JSON.stringify(text))
  }
  t.end()
})

test('every IPv6 address, however it is shortened, falls into its /64', (t) => {
  const random = seeded(7)
  for (let round = 0; round < 2000; round++) {
    const groups = Array.from({ length: 8 }, () => random() < 0.4 ? 0 : Math.floor(random() * 0x10000))
    const from = Math.floor(random() * 8)
    let to = from
    while (to < 8 && groups[to] === 0) to++
    const hex = groups.map((group) =>
      random() < 0.5 ? group.toString(16) : group.toString(16).padStart(4, '0').toUpperCase()
    )
    const text = to - from > 1 ? `${hex.slice(0, from).join(':')}::${hex.slice(to).join(':')}` : hex.join(':')
    if (!isIPv6(text)) t.fail(`the test made ${text}`)
    const expected = `${groups.slice(0, 4).map((group) => group.toString(16)).join(':')}::/64`
    if (addressPrefix(text) !== expected && groups.slice(0, 5).some((group) => group !== 0)) {
      t.equal(addressPrefix(text), expected, text)
    }
  }
  t.pass('2000 addresses')
  t.end()
})

test('an address without its IPv6 dress keeps all that tells it apart', (t) => {
  for (
    const [address, plain] of [
      ['::ffff:192.0.2.1', '192.0.2.1'],
      ['::FFFF:c000:201', '192.0.2.1'],
      ['192.0.2.1', '192.0.2.1'],
      ['fe80::1%eth0', 'fe80::1'],
      ['2001:db8::1', '2001:db8::1'],
      ['::ffff:1', '::ffff:1'],
      ['x:', 'x:'],
      ['', ''],
    ] as const
  ) {
    t.equal(unmappedAddress(address), plain, address)
  }
  t.end()
})
