import { encode, NOW, type Workshop } from './token-workshop.js'

/** Texts that are no token, or another spelling of one. */
export function textAttacks ({ header, good, forge, signature, alg }: Workshop): Record<string, string> {
  const token = forge(header, good())
  const [head = '', body = '', mac = ''] = token.split('.')
  const nextCharacter = (text: string): string =>
    text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1)
  const resigned = (segment: string): string => `${head}.${segment}.${signature(`${head}.${segment}`)}`
  // A payload whose length leaves bits unused, whatever the random ids are.
  let loose = good()
  while (encode(loose).length % 4 === 0) loose = { ...loose, sub: `${String(loose['sub'])}x` }
  const plus = `${body.slice(0, -4)}+/${body.slice(-2)}`
  const attacks: Record<string, string> = {
    'a JWE of five segments': `${token}.${mac}.${mac}`,
    'an empty payload': resigned(''),
    'no signature': `${head}.${body}.`,
    'a signature of zeros': `${head}.${body}.${'A'.repeat(mac.length)}`,
    'a signature of dots': `${head}.${body}.${'.'.repeat(mac.length)}`,
    'padding behind the signature': `${token}=`,
    'padding in the signature': `${head}.${body}.${mac.slice(0, -1)}=`,
    'padding behind the payload, signed': resigned(`${encode(loose)}==`),
    'padding behind the payload, not signed': `${head}.${body}=.${mac}`,
    'padding behind the header': `${head}=.${body}.${mac}`,
    'a signature cut short': token.slice(0, -1),
    'a signature grown': `${token}A`,
    'a signature twice': `${token}${mac}`,
    'the plain alphabet in the payload, signed': resigned(plus),
    'unused bits in the payload, signed': resigned(nextCharacter(encode(loose))),
    'white space in the payload, signed': resigned(`${body.slice(0, 8)} ${body.slice(8)}`),
    'a line break in the payload, signed': resigned(`${body.slice(0, 8)}\n${body.slice(8)}`),
    'a character in the payload that is skipped, signed': resigned(`${body.slice(0, 8)}!${body.slice(8)}`),
    'a dot in the payload, signed': resigned(`${body.slice(0, 8)}.${body.slice(8)}`),
    'a character beyond Latin 1 that ends in an A': `${head}.${body}.${mac.slice(0, -1)}\u0141`,
    'a non-ASCII character in the signature': `${head}.${body}.${mac.slice(0, -1)}é`,
    'a header with a character beyond Latin 1': `${head.slice(0, -1)}${
      String.fromCharCode(head.charCodeAt(head.length - 1) + 0x100)
    }.${body}.${mac}`,
    'spaces before': `  ${token}`,
    'a space behind': `${token} `,
    'a tab behind': `${token}\t`,
    'a line break behind': `${token}\n`,
    'a NUL behind': `${token}\0`,
    'a BOM before': `\ufeff${token}`,
    'quotes around': `"${token}"`,
    'Bearer before': `Bearer ${token}`,
    'percent-encoded dots': token.replaceAll('.', '%2E'),
    'a fraction of another token behind': `${token},${token}`,
    '4,097 bytes': token.padEnd(4097, 'A'),
    '4,097 bytes, signed': forge(header, { ...good(), filler: 'x'.repeat(4096) }),
    '1 MB': `${head}.${'A'.repeat(1 << 20)}.${mac}`,
    '1 MB of dots': '.'.repeat(1 << 20),
    '1 MB of a header': 'A'.repeat(1 << 20),
    '10,000 arrays deep': forge(header, `${'['.repeat(10_000)}${']'.repeat(10_000)}`),
    '1,000 arrays deep': forge(header, `${'['.repeat(1000)}${']'.repeat(1000)}`),
    'prototype name': '__proto__',
    'constructor.constructor.constructor': 'constructor.constructor.constructor',
  }
  for (let count = 0; count <= 6; count++) {
    if (count !== 3) attacks[`${count} segments`] = [head, body, mac, mac, mac, mac].slice(0, count).join('.')
    attacks[`${count} dots`] = '.'.repeat(count)
  }
  // 32, 64 and 256 bytes all leave bits of the last character unused.
  for (let bits = 1; bits < (alg === 'HS256' ? 4 : 16); bits++) {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    attacks[`unused bits ${bits} of the signature`] = token.slice(0, -1) +
      alphabet.charAt(alphabet.indexOf(token.slice(-1)) + bits)
  }
  return attacks
}

/** Claims of a holder of the key that no token of ours has. */
export function claimAttacks ({ kind, header, good, forge, signature }: Workshop): Record<string, string> {
  const base = good()
  const text = JSON.stringify(base)
  const payloads: Record<string, unknown> = {
    'a list': [base],
    'a text': '"x"',
    'a number': '1',
    'null': 'null',
    'no JSON': '{',
    'nothing': ' ',
    'a BOM before': `\ufeff${text}`,
    'white space': JSON.stringify(base, null, 1),
    'a line break behind': `${text}\n`,
    'sub twice, the last right': text.replace('{', '{"sub":"root",'),
    'sub twice, the first right': `${text.slice(0, -1)},"sub":"root"}`,
    'exp twice': `${text.slice(0, -1)},"exp":${NOW + 9}}`,
    '__proto__ twice': `${text.slice(0, -1)},"__proto__":{},"__proto__":{}}`,
    'a name escaped': text.replace('"sub"', '"\\u0073ub"'),
    'a value escaped': text.replace('"ada"', '"\\u0061da"'),
    'a slash escaped': text.replace('"ada"', '"a\\/da"'),
    'a name in another case': text.replace('"sub"', '"Sub"'),
    'claims in __proto__': `{"__proto__":${text}}`,
    'claims in constructor.prototype': `{"constructor":{"prototype":${text}}}`,
    nbf: { ...base, nbf: NOW + 60 },
    'nbf in the past': { ...base, nbf: NOW - 60 },
    'nbf null': { ...base, nbf: null },
    'exp before iat': { ...base, exp: NOW - 1 },
    'exp at iat': { ...base, exp: NOW },
    'a life beyond the policy': { ...base, exp: NOW + (kind === 'access' ? 901 : 604_801) },
    'a life from 1970': { ...base, iat: 0 },
    'exp 2 to the 53rd': { ...base, exp: 2 ** 53 },
  }
  for (const name of Object.keys(base)) {
    payloads[`without ${name}`] = Object.fromEntries(Object.entries(base).filter(([key]) => key !== name))
  }
  for (const name of ['iat', 'exp', kind === 'access' ? 'auth_time' : 'gen']) {
    const right = Number(base[name])
    for (const value of [String(right), right + 0.5, -1, null, true, [], [right], {}, '']) {
      payloads[`${name} ${JSON.stringify(value)}`] = { ...base, [name]: value }
    }
    for (
      const spelling of [
        '1e999',
        '-1e999',
        `${right}.0`,
        `${right}e0`,
        `${right / 10}e1`,
        `${right}0e-1`,
        '-0',
        '1E1',
        `0${right}`,
        `+${right}`,
        'NaN',
        'Infinity',
      ]
    ) payloads[`${name} spelled ${spelling}`] = text.replace(`"${name}":${right}`, `"${name}":${spelling}`)
  }
  const counter = kind === 'access' ? 'tv' : 'gen'
  for (const spelling of ['-0', '1.0', '1e1', '10.0', '0xa', '1e999', '-1', '9007199254740993', '"10"']) {
    payloads[`${counter} spelled ${spelling}`] = text.replace(`"${counter}":10`, `"${counter}":${spelling}`)
  }
  for (const name of ['iss', 'aud']) {
    const right = String(base[name])
    for (
      const value of [
        [right],
        [right, 'other'],
        `${right}/`,
        `${right} `,
        ` ${right}`,
        `${right}\0`,
        right.toUpperCase(),
        right.slice(0, -1),
        `${right}x`,
        `https://${right}`,
        '',
        null,
        true,
        { value: right },
        'other',
      ]
    ) payloads[`${name} ${JSON.stringify(value)}`] = { ...base, [name]: value }
  }
  payloads['aud of the other kind'] = { ...base, aud: kind === 'access' ? 'bulwark-api/refresh' : 'bulwark-api' }
  for (const name of kind === 'access' ? ['sid', 'jti'] : ['sid', 'jti', 'slt']) {
    for (
      const value of [
        '',
        'x',
        1,
        null,
        ['x'],
        '../../../../../../../../x',
        `${String(base[name]).slice(0, -1)}B`,
        `${String(base[name])}A`,
      ]
    ) payloads[`${name} ${JSON.stringify(value)}`] = { ...base, [name]: value }
  }
  for (const value of ['', 1, null, true, ['ada'], { $ne: null }]) {
    payloads[`sub ${JSON.stringify(value)}`] = { ...base, sub: value }
  }
  if (kind === 'access') {
    for (const value of ['admin', null, {}, ['root'], [['admin']], [1], ['user', null], { 0: 'admin', length: 1 }]) {
      payloads[`roles ${JSON.stringify(value)}`] = { ...base, roles: value }
    }
    for (const value of ['pwd', null, [1], [''], ['a b'], ['x'.repeat(17)], ['a', 'b', 'c', 'd', 'e']]) {
      payloads[`amr ${JSON.stringify(value)}`] = { ...base, amr: value }
    }
    payloads['an app claim of another type'] = { ...base, tenant: ['acme'] }
    payloads['an app claim in __proto__'] = text.replace('"tenant":"acme"', '"__proto__":{"tenant":"acme"}')
    payloads['auth_time after iat'] = { ...base, auth_time: NOW + 6 }
  }
  const attacks = Object.fromEntries(Object.entries(payloads).map(([what, payload]) => [what, forge(header, payload)]))
  for (
    const [what, bytes] of [
      ['Latin 1', 'ad\xe9'],
      ['a lone continuation byte', 'ad\x80'],
      ['an overlong slash', 'ad\xc0\xaf'],
      ['a surrogate in UTF-8', 'ad\xed\xa0\x80'],
      ['a cut sequence', 'ad\xf0\x9f\x98'],
    ] as const
  ) {
    const input = `${encode(header)}.${Buffer.from(text.replace('ada', bytes), 'latin1').toString('base64url')}`
    attacks[`text that is not UTF-8: ${what}`] = `${input}.${signature(input)}`
  }
  return attacks
}
