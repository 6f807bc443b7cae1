import { isPlainObject } from '../options/check-options.js'

/**
 * JSON data as a YAML 1.2 block document. Texts that plain YAML could read as something else stand in JSON's quotes,
 * which YAML reads the same way.
 */
export function renderYaml (value: unknown): string {
  return `${block(JSON.parse(JSON.stringify(value)), '').trimStart()}\n`
}

/** What follows a key or a dash: a scalar after a space, or the members on lines of their own. */
function block (value: unknown, indent: string): string {
  if (Array.isArray(value)) {
    return value.length === 0
      ? ' []'
      : value.map((item) => `\n${indent}-${inline(block(item, `${indent}  `), indent)}`).join('')
  }
  if (!isPlainObject(value)) return ` ${scalar(value)}`
  const members = Object.entries(value)
  return members.length === 0
    ? ' {}'
    : members.map(([name, member]) => `\n${indent}${scalar(name)}:${block(member, `${indent}  `)}`).join('')
}

/** The first member of a list's item stands beside its dash. */
function inline (text: string, indent: string): string {
  return text.startsWith('\n') ? text.replace(`\n${indent}  `, ' ') : text
}

/** Letters first, and nothing that YAML gives a meaning: the words of YAML 1.1 are quoted, too. */
const PLAIN = /^[A-Za-z_/][\w/.{}-]*(?: [\w/.-]+)*$/
const WORDS = /^(?:true|false|null|yes|no|on|off|y|n|nan|inf)$/i

function scalar (value: unknown): string {
  return typeof value === 'string' && PLAIN.test(value) && !WORDS.test(value) ? value : JSON.stringify(value)
}
