/** One finding as a client sees it: where, and a sentence that a form can show. Never a value. */
export interface FieldError { readonly path: string, readonly message: string }

/** The part of an Ajv error that is used here. */
export interface Finding {
  readonly keyword: string
  readonly instancePath: string
  readonly schemaPath: string
  readonly params: Readonly<Record<string, unknown>>
}

/** A key is the client's own text: at most this much of each goes back, and this much of a whole path. */
const MAX_KEY = 100
const MAX_PATH = 400

/** Grouping the findings of choices costs their square, and a hostile body can have thousands. */
const MAX_FINDINGS = 400

const UNKNOWN_KEYS: ReadonlySet<string> = new Set(['additionalProperties', 'unevaluatedProperties', 'propertyNames'])

const TYPE_NAMES: ReadonlyMap<unknown, string> = new Map([
  ['string', 'text'], ['number', 'a number'], ['integer', 'a whole number'], ['boolean', 'true or false'],
  ['array', 'a list'], ['object', 'an object'], ['null', 'null'],
])

const CHARACTER_NAMES: ReadonlyMap<unknown, string> = new Map([
  ['lower', 'a lower-case letter'],
  ['upper', 'an upper-case letter'],
  ['digit', 'a digit'],
  ['special', 'a special character'],
])

const FORMAT_NAMES: ReadonlyMap<unknown, string> = new Map([
  ['email', 'an e-mail address'],
  ['uuid', 'a UUID'],
  ['date', 'a date (YYYY-MM-DD)'],
  ['time', 'a time'],
  ['date-time', 'a date and time (RFC 3339)'],
  ['uri', 'a URL'],
  ['url', 'a URL'],
  ['hostname', 'a host name'],
  ['ipv4', 'an IPv4 address'],
  ['ipv6', 'an IPv6 address'],
])

/** The findings as a client sees them: each once, choices summed up, at most `max`. */
export function fieldErrors (part: string, findings: readonly Finding[], max: number): FieldError[] {
  const errors: FieldError[] = []
  const seen = new Set<string>()
  for (const finding of withoutBranches(findings)) {
    const error = { path: pathOf(part, finding), message: messageOf(finding) }
    const key = `${error.path} ${error.message}`
    if (seen.has(key)) continue
    seen.add(key)
    if (errors.push(error) >= max) break
  }
  return errors
}

/**
 * The same places for the log: a key that the schema does not know is `*`, since a client may have put anything there.
 */
export function eventPaths (part: string, findings: readonly Finding[], max: number): string[] {
  const paths = new Set<string>()
  for (const finding of withoutBranches(findings)) {
    paths.add(UNKNOWN_KEYS.has(finding.keyword) ? `${dotted(part, finding.instancePath)}.*` : pathOf(part, finding))
    if (paths.size >= max) break
  }
  return [...paths]
}

/**
 * A choice (`anyOf`, `oneOf`) reports what is wrong with each of its branches and then itself. The branch that was
 * meant is the one whose literals and types fit; when that is exactly one, only its findings stay, otherwise only the
 * choice.
 */
function withoutBranches (findings: readonly Finding[]): readonly Finding[] {
  let kept: readonly Finding[] = findings.slice(0, MAX_FINDINGS).filter(({ schemaPath }) =>
    !schemaPath.includes('/propertyNames/')
  )
  for (const choice of kept.filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf')) {
    if (!kept.includes(choice)) continue
    const branches = branchesOf(choice, kept)
    const within = new Set([...branches.values()].flat())
    const meant = [...branches.values()].filter((branch) =>
      !branch.some((finding) => isMismatch(finding, choice.instancePath))
    )
    const instead = meant.length === 1 && branches.size > 1 ? meant[0] ?? [] : [summary(choice, within)]
    kept = kept.flatMap((finding) => finding === choice ? instead : within.has(finding) ? [] : [finding])
  }
  // A branch that failed has evaluated no key, so the closing around it calls even its known keys unknown; and `if`
  // only says that `then` or `else` did not fit.
  const undecided = new Set(
    findings.filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf' || keyword === 'if').map((
      { instancePath },
    ) => instancePath),
  )
  const reasons = kept.filter(({ keyword, instancePath }) =>
    keyword !== 'if' && !(keyword === 'unevaluatedProperties' && undecided.has(instancePath))
  )
  return reasons.length > 0 ? reasons : kept
}

function branchesOf (choice: Finding, findings: readonly Finding[]): Map<string, Finding[]> {
  const prefix = `${choice.schemaPath}/`
  const branches = new Map<string, Finding[]>()
  for (const finding of findings) {
    if (!finding.schemaPath.startsWith(prefix) || !isAt(finding.instancePath, choice.instancePath)) continue
    const branch = finding.schemaPath.slice(prefix.length).split('/', 1)[0] ?? ''
    const known = branches.get(branch)
    if (known === undefined) branches.set(branch, [finding])
    else known.push(finding)
  }
  return branches
}

/** To a person who fills in a form, a choice of literals is a list of values. */
function summary (choice: Finding, within: ReadonlySet<Finding>): Finding {
  const isValues = within.size > 0 &&
    [...within].every(({ keyword, instancePath }) =>
      instancePath === choice.instancePath && (keyword === 'const' || keyword === 'type')
    ) &&
    [...within].some(({ keyword }) => keyword === 'const')
  return isValues ? { ...choice, keyword: 'enum' } : choice
}

/** True when it says that the branch is not the one that was meant: another type, or another literal right inside. */
function isMismatch (finding: Finding, at: string): boolean {
  if (finding.keyword === 'type') return finding.instancePath === at
  return finding.keyword === 'const' && finding.instancePath.slice(at.length).split('/').length <= 2
}

function isAt (path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(`${ancestor}/`)
}

function pathOf (part: string, { keyword, instancePath, params }: Finding): string {
  const place = dotted(part, instancePath)
  const key = params['missingProperty'] ??
    (UNKNOWN_KEYS.has(keyword)
      ? params['additionalProperty'] ?? params['unevaluatedProperty'] ?? params['propertyName']
      : undefined)
  return typeof key === 'string' ? cut(`${place}.${cut(key, MAX_KEY)}`, MAX_PATH) : place
}

/** `('body', '/items/0/name')` → `body.items.0.name` */
function dotted (part: string, pointer: string): string {
  if (pointer === '') return part
  const keys = pointer.slice(1, MAX_PATH * 2).split('/').map((key) =>
    cut(key.replaceAll('~1', '/').replaceAll('~0', '~'), MAX_KEY)
  )
  return cut(`${part}.${keys.join('.')}`, MAX_PATH)
}

function cut (text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}

function messageOf ({ keyword, params }: Finding): string {
  // The server's own Ajv plugins may bring keywords of any name.
  const message = Object.hasOwn(MESSAGES, keyword) ? MESSAGES[keyword] : undefined
  return typeof message === 'function' ? message(params) : message ?? 'Is not valid.'
}

type Params = Finding['params']

/** `atLeast('entries')({ limit: 2 })`: Must have at least 2 entries. */
const atLeast = (things: string) => ({ limit }: Params): string =>
  limit === 1 ? 'Must not be empty.' : `Must have at least ${Number(limit)} ${things}.`
const atMost = (things: string) => ({ limit }: Params): string => `Must have at most ${Number(limit)} ${things}.`

const NOT_ALLOWED = 'Contains characters that are not allowed.'

const MESSAGES: Readonly<Record<string, string | ((params: Params) => string)>> = {
  required: 'Required.',
  dependentRequired: 'Required.',
  dependencies: 'Required.',
  additionalProperties: 'Unknown field.',
  unevaluatedProperties: 'Unknown field.',
  propertyNames: 'Unknown field.',
  'false schema': 'Unknown field.',
  type: ({ type }) => `Must be ${typeName(type)}.`,
  format: ({ format }) => `Must be ${FORMAT_NAMES.get(format) ?? 'of another format'}.`,
  pattern: 'Has the wrong format.',
  enum: 'Must be one of the allowed values.',
  const: 'Must be one of the allowed values.',
  minLength: atLeast('characters'),
  maxLength: atMost('characters'),
  minItems: atLeast('entries'),
  maxItems: atMost('entries'),
  uniqueItems: 'Must not repeat an entry.',
  minProperties: ({ limit }) => `Must have at least ${Number(limit)} fields.`,
  maxProperties: atMost('fields'),
  minimum: ({ limit }) => `Must be at least ${Number(limit)}.`,
  maximum: ({ limit }) => `Must be at most ${Number(limit)}.`,
  exclusiveMinimum: ({ limit }) => `Must be more than ${Number(limit)}.`,
  exclusiveMaximum: ({ limit }) => `Must be less than ${Number(limit)}.`,
  multipleOf: ({ multipleOf }) => `Must be a multiple of ${Number(multipleOf)}.`,
  'bulwark:text': NOT_ALLOWED,
  'bulwark:keys': NOT_ALLOWED,
  'bulwark:rest': NOT_ALLOWED,
  safeText: NOT_ALLOWED,
  'bulwark:finite': 'Must be a number.',
  trimmed: 'Must not begin or end with a space.',
  characters: ({ missing }) => `Must contain ${missingNames(missing)}.`,
  depth: 'Nested too deeply.',
  anyOf: 'Must be one of the allowed forms.',
  oneOf: 'Must be one of the allowed forms.',
}

function missingNames (missing: unknown): string {
  return Array.isArray(missing)
    ? missing.map((kind) => CHARACTER_NAMES.get(kind) ?? 'other characters').join(', ')
    : 'other characters'
}

function typeName (type: unknown): string {
  const names = (Array.isArray(type) ? type as unknown[] : String(type).split(',')).map((name) =>
    TYPE_NAMES.get(name) ?? 'of another type'
  )
  return names.join(' or ')
}
