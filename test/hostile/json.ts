import { CANARY } from './app.js'

type Source = string | Buffer

const bytes = (...values: number[]): Buffer => Buffer.from(values)
const around = (before: string, middle: Buffer, after: string): Buffer => Buffer.concat([Buffer.from(before), middle, Buffer.from(after)])
const many = (text: string, count: number): string => text.repeat(count)

/** Texts that are no JSON, or JSON at the edge of its grammar (RFC 8259), in the order of JSONTestSuite's kinds. */
const STRUCTURE: readonly Source[] = [
  '', ' ', '\n', '\t', '\r', '\0', '{', '}', '[', ']', '{}', '[]', '[[]]', '[{}]', '{}{}', '{} {}', '[][]', '{}x', '{},', ',{}', '{{}}', '{[]}',
  '{"a"}', '{"a":}', '{:1}', '{"a":1,}', '{,"a":1}', '{"a":1,,"b":2}', '{"a" 1}', '{"a"::1}', '{"a"=1}', '{a:1}', '{\'a\':1}', '{"a":\'b\'}', '{1:1}',
  '{null:1}', '{true:1}', '{[]:1}', '{{}:1}', '{"a":1 "b":2}', '{"a":1;"b":2}', '{"a":[1,]}', '{"a":[,1]}', '{"a":[1,,2]}', '{"a":[1 2]}', '{"a":[1}',
  '{"a":{}', '{"a":"b"', '{"a":"b', '{"a', '{"', '[1,', '[1', '["a', '["a"', '[{', '{"a":[{', '{"a":1}}', '{"a":1]', '[1}', '(1)', '<a/>', '<?xml version="1.0"?><a/>',
  '/* c */{}', '{}/* c */', '// c\n{}', '{"a":/* c */1}', '{} // c', '#{}', '{"a":1}#', '\ufeff{}', '\ufeff{"a":1}', '{}\ufeff', '\u00a0{}', '\u2028{}', '\u3000{}', '\v{}', '\f{}',
  ')]}\',\n{}', 'while(1);{}', 'undefined', 'None', 'nil', 'NULL', 'Null', 'TRUE', 'True', 'FALSE', 'nul', 'tru', 'fals', 'nulll', 'truee', 'null', 'true', 'false', 'null null',
  'a=1&b=2', '{"a":1}\n{"b":2}', '[1]\0', '{"a":1}\0', '\0{"a":1}', '--', '{"a":undefined}', '{"a":function(){}}', '{"a":new Date()}', '{"a":`b`}', '{"a":@}', '{"a":$b}', '*', '"',
]

const NUMBERS: readonly Source[] = [
  '0', '-0', '-', '+1', '01', '-01', '.5', '5.', '-.5', '1e', '1e+', '1E-', '1e5', '1e400', '-1e400', '1e-400', '1e99999999999', '0x1F', '0b1', '0o7', '1_000', '1,000', '1 000',
  'NaN', '-NaN', 'Infinity', '-Infinity', 'inf', '1n', '0e', '0e+', '9007199254740993', '-9007199254740993', '18446744073709551616', '１', '1.0', '1.7976931348623157e309',
  '123456789012345678901234567890', '0.1e1', '--1', '++1', '1..2', '1.2.3', '1e1.5', '0.00000000000000000000000000000000000001',
].flatMap((number) => [number, `{"name":${number}}`])

const STRINGS: readonly Source[] = [
  '"a"', '""', '"a\nb"', '"a\tb"', '"a\0b"', '"\\u0000"', '"\\x00"', '"\\0"', '"\\a"', '"\\\'"', '"\\u"', '"\\u1"', '"\\u12"', '"\\u123"', '"\\u123g"', '"\\U00000041"', '"\\ud800"', '"\\udfff"',
  '"\\udc00\\ud800"', '"\\ud800\\ud800"', '"\\ud83d\\ude00"', '"\\uD800\\u0041"', '"\\"', '"\\\\\\"', '"\\u007f"', '"\u007f"', '"\u0085"', '"\u2028\u2029"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\u0022"',
].flatMap((text) => [text, `{"name":${text}}`, `{${text}:1}`])

const KEYS: readonly Source[] = [
  '{"a":1,"a":2}', '{"name":"one","name":"two"}', '{"name":"one","\\u006eame":"two"}', `{"password":"${CANARY}","password":"${CANARY}"}`, '{"email":"a@example.com","email":["b@example.com"]}',
  '{"__proto__":{"isAdmin":true}}', '{"__proto__":null}', '{"__proto__":1}', '{"\\u005f_proto__":{"isAdmin":true}}', '{"\\u005f\\u005fproto\\u005f\\u005f":[]}', '{"constructor":{"prototype":{"isAdmin":true}}}',
  '{"constructor":1}', '{"constructor":{"prototype":1}}', '{"prototype":{}}', '{"a":{"__proto__":{"b":1}}}', '{"a":[{"constructor":{"prototype":{}}}]}', '{"toString":1}', '{"toJSON":1}', '{"hasOwnProperty":1}',
  '{"valueOf":{}}', '{"length":-1}', '{"then":1}', '{"":1}', '{" name":"x"}', '{"name ":"x"}', '{"name\\u0000":"x"}', '{"NAME":"x"}', '{"nаme":"cyrillic"}', '{"0":1}', '{"-1":1}', '{"$ref":"#"}', '{"$where":"1"}',
  `{"${many('k', 5000)}":1}`, `{${Array.from({ length: 2000 }, (_, index) => `"k${index}":1`).join(',')}}`,
]

const DEPTH: readonly Source[] = [
  many('[', 1000), many('[', 40_000), many('{"a":', 10_000), many('[', 1000) + many(']', 1000), many('[', 40_000) + many(']', 40_000), many('{"a":', 5000) + '1' + many('}', 5000),
  `{"name":${many('[', 20_000)}${many(']', 20_000)}}`, `{"description":${many('{"a":', 8000)}null${many('}', 8000)}}`, many('[{"a":', 5000), many(' ', 90_000) + '{}', `{"name":"${many('x', 90_000)}"}`,
  `{"name":"${many('\\u0061', 10_000)}"}`, `[${many('1,', 20_000)}1]`, `[${many('{},', 20_000)}{}]`, `{"name":[${many('"x",', 10_000)}"x"]}`, `{"name":"${many('x', 120_000)}"}`, many('[', 120_000),
]

const ENCODINGS: readonly Source[] = [
  bytes(0xff), bytes(0xfe, 0xff), bytes(0xff, 0xfe), bytes(0xef, 0xbb, 0xbf), bytes(0xef, 0xbb), bytes(0x80), bytes(0xc0, 0x80), bytes(0x00), bytes(0x1f, 0x8b, 0x08), bytes(0x50, 0x4b, 0x03, 0x04),
  Buffer.from('{"name":"x"}', 'utf16le'), Buffer.from('\ufeff{"name":"x"}', 'utf16le'), Buffer.from('{"name":"x"}', 'utf16le').swap16(), Buffer.concat([bytes(0xef, 0xbb, 0xbf), Buffer.from('{"name":"x"}')]),
  Buffer.from('{"name":"\u00e9"}', 'latin1'), ...[[0xff], [0xc3], [0xc0, 0xaf], [0xe0, 0x80, 0xaf], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0xf0, 0x9f, 0x98], [0x80, 0x80], [0xfe], [0xc1, 0xbf]]
    .flatMap((invalid) => [around('{"name":"', bytes(...invalid), '"}'), around('{"', bytes(...invalid), '":1}'), around('', bytes(...invalid), '{"name":"x"}')]),
]

export const JSON_CORPUS: readonly Source[] = [...STRUCTURE, ...NUMBERS, ...STRINGS, ...KEYS, ...DEPTH, ...ENCODINGS]

/** Spellings of a content type, of which few are JSON. */
export const CONTENT_TYPES: readonly string[] = [
  'application/json', 'application/json; charset=utf-8', 'application/json; charset=utf-16', 'application/json; charset=latin1', 'application/json;charset="utf-8"', 'application/json ; a', 'application/json;', 'Application/JSON', 'APPLICATION/JSON ; x=y',
  ' application/json', 'application/json ', 'application/json\t', '\tapplication/json', 'application/json\t;', 'application/jsonx', 'application/json x', 'application/json,text/plain', 'text/plain,application/json', 'application/json/x', 'application', 'json', '/', ';', '',
  '*/*', 'application/*', 'application/ json', 'application /json', 'application/json; boundary=a', 'text/json', 'text/plain', 'text/plain; application/json', 'text/html', 'text/xml', 'application/xml', 'application/x-www-form-urlencoded', 'multipart/form-data', 'multipart/form-data; boundary=a',
  'application/vnd.api+json', 'application/ld+json', 'application/problem+json', 'application/csp-report', 'application/reports+json', 'application/octet-stream', 'application/x-ndjson', 'application/graphql', 'application/json; charset=__proto__', '__proto__', 'constructor/prototype', 'image/svg+xml',
  'application/json; q=1;q=2;;;', `application/json; a=${'x'.repeat(4000)}`, 'application/json"', 'application/json;charset=', 'application%2Fjson', 'application\\json',
]
