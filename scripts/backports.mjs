// The source of packages for Debian's backports, made of the one this machine has for its release:
// `node scripts/backports.mjs > /etc/apt/sources.list.d/backports.sources`. No host stands in this repository: a
// machine that installs from a mirror installs its backports from there, too. Exit code 1, and the reason on stderr,
// where its own lists do not say where its release comes from.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** `deb [signed-by=/a.gpg] https://mirror.example/debian bookworm main`, one a line. */
function readOneLineSources (text) {
  return [...text.matchAll(/^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)$/gm)].map((
    [, options, uri, suite, rest],
  ) => ({
    uris: [uri],
    suites: [suite],
    components: rest.replace(/#.*/, '').trim().split(/\s+/),
    signedBy: /(?:^|\s)signed-by=(\S+)/.exec(options ?? '')?.[1],
  }))
}

/** Stanzas of fields, as deb822 writes them; a line that begins with a space continues the field above. */
function readStanzas (text) {
  return text.replaceAll(/^#.*\n?/gm, '').split(/\n\s*\n/).map((stanza) => {
    const fields = Object.fromEntries(
      [...stanza.matchAll(/^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)].map((
        [, name, value],
      ) => [name.toLowerCase(), value]),
    )
    const words = (name) => (fields[name] ?? '').split(/\s+/).filter((word) => word !== '')
    const isUsed = words('types').includes('deb') && !/^(no|false|0|off)$/i.test(fields.enabled ?? 'yes')
    return {
      uris: isUsed ? words('uris') : [],
      suites: words('suites'),
      components: words('components'),
      signedBy: fields['signed-by'],
    }
  })
}

/**
 * @param files `{ name, text }` of the files that apt reads: *.list and *.sources
 * @param codename of the release, such as `bookworm`
 * @returns a stanza for a *.sources file; null when no source of the release is there, or its backports are on already
 */
export function deriveBackports (files, codename) {
  const sources = files.flatMap(({ name, text }) =>
    name.endsWith('.sources') ? readStanzas(text) : readOneLineSources(text)
  ).filter(({ uris }) => uris.some((uri) => /^https?:|^mirror/.test(uri)))
  if (sources.some(({ suites }) => suites.includes(`${codename}-backports`))) return null
  const main = sources.find(({ suites, components }) => suites.includes(codename) && components.includes('main'))
  if (main === undefined) return null
  return [
    'Types: deb',
    `URIs: ${main.uris.join(' ')}`,
    `Suites: ${codename}-backports`,
    'Components: main',
    ...(main.signedBy === undefined ? [] : [`Signed-By: ${main.signedBy}`]),
    '',
  ].join('\n')
}

function readSources (folder = '/etc/apt') {
  const parts = join(folder, 'sources.list.d')
  const names = existsSync(parts) ? readdirSync(parts).filter((name) => /\.(list|sources)$/.test(name)).sort() : []
  return [join(folder, 'sources.list'), ...names.map((name) => join(parts, name))].filter((file) => existsSync(file))
    .map((file) => ({ name: file, text: readFileSync(file, 'utf8') }))
}

if (process.argv[1] === import.meta.filename) {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1] ?? ''
  const stanza = codename === '' ? null : deriveBackports(readSources(), codename)
  if (stanza === null) {
    console.error(`no backports of ${codename || 'this system'} can be added from its own lists of sources`)
    process.exitCode = 1
  } else {
    process.stdout.write(stanza)
  }
}
