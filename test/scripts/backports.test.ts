import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'tap'
import { ROOT } from '../helpers/root.js'

interface SourceFile { readonly name: string, readonly text: string }

const { deriveBackports } = await import(pathToFileURL(join(ROOT, 'scripts', 'backports.mjs')).href) as {
  deriveBackports: (files: readonly SourceFile[], codename: string) => string | null
}

const list = (text: string): SourceFile => ({ name: '/etc/apt/sources.list', text })
const stanzas = (text: string): SourceFile => ({ name: '/etc/apt/sources.list.d/debian.sources', text })
const expected = (uris: string, signedBy: readonly string[] = []): string =>
  ['Types: deb', `URIs: ${uris}`, 'Suites: bookworm-backports', 'Components: main', ...signedBy, ''].join('\n')

const TABLE: readonly (readonly [string, readonly SourceFile[], string | null])[] = [
  [
    'a line of sources.list',
    [list('deb http://mirror.example/debian bookworm main contrib\n')],
    expected('http://mirror.example/debian'),
  ],
  [
    'a line with options, among others',
    [list([
      '# deb http://old.example/debian bookworm main',
      'deb-src http://source.example/debian bookworm main',
      'deb http://security.example/debian-security bookworm-security main',
      'deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] https://mirror.example/debian bookworm main # ours',
    ].join('\n'))],
    expected('https://mirror.example/debian', ['Signed-By: /usr/share/keyrings/a.gpg']),
  ],
  [
    'a stanza with several suites',
    [stanzas([
      'Types: deb deb-src',
      '# the mirror of this house',
      'URIs: http://mirror.example/debian',
      'Suites: bookworm bookworm-updates',
      'Components: main',
      'Signed-By: /usr/share/keyrings/a.gpg',
      '',
      'Types: deb',
      'URIs: http://security.example/debian',
      'Suites: bookworm-security',
      'Components: main',
    ].join('\n'))],
    expected('http://mirror.example/debian', ['Signed-By: /usr/share/keyrings/a.gpg']),
  ],
  [
    'a stanza with a key in itself',
    [stanzas(
      'Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n',
    )],
    expected('http://mirror.example/debian', ['Signed-By: \n -----BEGIN\n .\n -----END']),
  ],
  ['no list', [], null],
  ['another release', [list('deb http://mirror.example/debian trixie main')], null],
  ['no main component', [list('deb http://mirror.example/debian bookworm contrib')], null],
  ['a disc', [list('deb cdrom:[Debian]/ bookworm main')], null],
  [
    'a stanza that is off',
    [stanzas('Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main')],
    null,
  ],
  [
    'sources only',
    [stanzas('Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main')],
    null,
  ],
  [
    'backports that are on already',
    [
      list('deb http://mirror.example/debian bookworm main'),
      stanzas('Types: deb\nURIs: http://other.example/debian\nSuites: bookworm-backports\nComponents: main'),
    ],
    null,
  ],
]

test('backports come from where the machine gets its release', async (t) => {
  for (const [name, files, stanza] of TABLE) t.equal(deriveBackports(files, 'bookworm'), stanza, name)
})

test('CI installs and tests as the README says, and names no host', async (t) => {
  const script = readFileSync(join(ROOT, '.ci', 'run'), 'utf8')
  t.match(readFileSync(join(ROOT, 'README.md'), 'utf8'), /^npm ci && npm test$/m)
  t.match(script, /^npm ci\nnpm test\n$/m)
  t.notMatch(script, /:\/\/|\.(org|com|net)\b/)
})
