#!/usr/bin/env node
import { createRequire } from 'node:module'
import { CliError, suggestion, UsageError, type Command } from './command.js'
import { keygen } from './keygen.js'

/** Each with its own flags and help. */
const COMMANDS: readonly Command[] = [keygen]

const HELP = `Usage: fastify-bulwark <command> [options]

Commands:
${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`).join('\n')}

fastify-bulwark <command> --help tells the options of a command.
Exit codes: 0 done, 1 failed, 2 called wrongly.
`

async function main (args: readonly string[]): Promise<string> {
  const [first, ...rest] = args
  if (first === undefined) throw new UsageError('No command.', HELP)
  if (first === '--help' || first === '-h' || first === 'help') return HELP
  if (first === '--version') return `${version()}\n`
  const command = COMMANDS.find(({ name }) => name === first)
  if (command === undefined) {
    const names = COMMANDS.map(({ name }) => name)
    throw new UsageError(
      `${first.startsWith('-') ? 'Unknown option' : 'Unknown command'} ${JSON.stringify(first)}.${suggestion(
        first,
        names,
      )}`,
      `Commands: ${names.join(', ')}. See fastify-bulwark --help.\n`,
    )
  }
  return rest.some((argument) => argument === '--help' || argument === '-h') ? command.help : await command.run(rest)
}

function version (): string {
  const manifest = createRequire(import.meta.url)('fastify-bulwark/package.json') as { readonly version: string }
  return manifest.version
}

try {
  process.stdout.write(await main(process.argv.slice(2)))
} catch (error) {
  if (!(error instanceof CliError)) throw error
  process.stderr.write(`${error.message}\n${error.hint}`)
  process.exitCode = error.exitCode
}
