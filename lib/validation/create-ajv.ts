import { Ajv, type AnySchemaObject, type Format } from 'ajv'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { addFormats } from './formats.js'
import { addKeywords } from './keywords.js'
import { addSanitize } from './sanitize-keyword.js'

/** The `ajv` option that `fastify()` was given. */
export interface ServerAjvOptions {
  readonly customOptions?: Readonly<Record<string, unknown>>
  readonly plugins?: readonly unknown[]
  readonly onCreate?: (ajv: Ajv) => void
  readonly mode?: string
}

export interface OwnAjvOptions {
  readonly coerceTypes: false | 'array'
  readonly allErrors: boolean
}

/** Ajv options that decide what is accepted: the suite owns them. */
const OWNED_OPTIONS = ['allErrors', 'coerceTypes', 'removeAdditional', '$data', 'unevaluated', 'addUsedSchema']

/** What a schema without `$schema` is written in, as in Fastify. Ajv2019 brings only the meta-schemas of its draft. */
const DRAFT_07 = new Ajv().getSchema('http://json-schema.org/draft-07/schema#')?.schema as AnySchemaObject

/** @throws TypeError for an `ajv` option that would weaken validation */
export function assertServerOptions (server: ServerAjvOptions): void {
  if (server.mode !== undefined) {
    throw new TypeError(
      `the validation plugin validates JSON Schema; remove ajv.mode '${server.mode}' from the server's options`,
    )
  }
  const owned = OWNED_OPTIONS.filter((name) => server.customOptions?.[name] !== undefined)
  if (owned.length > 0) {
    throw new TypeError(
      `the validation plugin owns these Ajv options: ${
        owned.join(', ')
      }. Remove them from ajv.customOptions of the server's options`,
    )
  }
}

/** Whether the server leaves the formats as the suite defines them. */
export function hasOwnFormats ({ customOptions, plugins = [], onCreate }: ServerAjvOptions): boolean {
  return customOptions?.['formats'] === undefined && plugins.length === 0 && onCreate === undefined
}

/** An Ajv with the suite's rules, what the server's `ajv` option adds, and the schemas that others may refer to. */
export function createAjv (server: ServerAjvOptions, own: OwnAjvOptions, external: readonly unknown[]): Ajv {
  // Of the 2019 draft, because closed copies need `unevaluatedProperties`.
  const ajv = new Ajv2019({
    useDefaults: true,
    // Closing adds keywords for objects beside `$ref` and `allOf`, which have no type of their own.
    strictTypes: false,
    defaultMeta: DRAFT_07.$id ?? '',
    ...server.customOptions,
    ...own,
    removeAdditional: false,
    addUsedSchema: false,
    // The pass that lists all findings compiles what was judged before.
    ...own.allErrors && { validateSchema: false },
  })
  ajv.addMetaSchema(DRAFT_07, undefined, false)
  addSanitize(ajv)
  addKeywords(ajv)
  addFormats(ajv)
  // The service's own formats stand above ours.
  for (const [name, format] of Object.entries(server.customOptions?.['formats'] ?? {})) {
    ajv.addFormat(name, format as Format)
  }
  for (const entry of server.plugins ?? []) {
    const [plugin, options] = (Array.isArray(entry) ? entry : [entry]) as [
      (ajv: Ajv, options?: unknown) => unknown,
      unknown?,
    ]
    plugin(ajv, options)
  }
  server.onCreate?.(ajv)
  for (const schema of external) ajv.addSchema(schema as object)
  return ajv
}
