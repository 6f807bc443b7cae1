import { parseArgs, type ParseArgsConfig } from 'node:util'
import { nearest } from '../lib/options/nearest.js'

/** A subcommand of the program. */
export interface Command {
  readonly name: string
  /** One line for the list of commands. */
  readonly summary: string
  readonly help: string
  /** Resolves to what goes to stdout, and nothing else goes there. @throws CliError */
  readonly run: (args: readonly string[]) => Promise<string>
}

/** Something that did not work, in words for the caller of the program. */
export class CliError extends Error {
  readonly exitCode: number = 1
  /** More lines, each with its line break. */
  readonly hint: string

  constructor (message: string, hint = '') {
    super(message)
    this.hint = hint
  }
}

/** The program was called wrongly. */
export class UsageError extends CliError {
  override readonly exitCode = 2
}

type Options = NonNullable<ParseArgsConfig['options']>
type Parsed<O extends Options> = ReturnType<
  typeof parseArgs<{ options: O, strict: true, allowPositionals: false }>
>['values']

/**
 * The values of a command's flags.
 * @throws UsageError that names the flag, and the one that was perhaps meant; never what followed it, which may be a
 * secret
 */
export function parseFlags<const O extends Options> (
  command: string,
  args: readonly string[],
  options: O,
): Parsed<O> {
  const hint = `See fastify-bulwark ${command} --help.\n`
  const known = Object.keys(options)
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true })
  const seen = new Set<string>()
  for (const token of tokens) {
    if (token.kind === 'positional') throw new UsageError('Unexpected argument: this command takes options only.', hint)
    if (token.kind === 'option-terminator') throw new UsageError('Unexpected argument "--".', hint)
    const option = known.includes(token.name) ? options[token.name] : undefined
    if (option === undefined) {
      throw new UsageError(
        `Unknown option ${JSON.stringify(token.rawName)}.${suggestion(token.name, known, '--')}`,
        `Options: ${known.map((name) => `--${name}`).join(', ')}. ${hint}`,
      )
    }
    if (option.type === 'boolean' && token.value !== undefined) {
      throw new UsageError(`--${token.name} takes no value.`, hint)
    }
    if (option.type === 'string' && (token.value === undefined || token.value === '')) {
      throw new UsageError(`--${token.name} needs a value.`, hint)
    }
    if (seen.has(token.name) && option.multiple !== true) throw new UsageError(`--${token.name} is given twice.`, hint)
    seen.add(token.name)
  }
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch {
    // Left over: a value that begins with a dash, which parseArgs finds ambiguous.
    throw new UsageError('A value that begins with a dash is written with an equals sign: --option=-value.', hint)
  }
}

/** A sentence about the name that was perhaps meant, or nothing. */
export function suggestion (name: string, known: readonly string[], prefix = ''): string {
  const near = nearest(name, known)
  return near === null ? '' : ` Did you mean "${prefix}${near}"?`
}
