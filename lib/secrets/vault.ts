import { Type, type Static } from '@sinclair/typebox'
import { isPlainObject } from '../options/check-options.js'
import { SecretSourceError, type SecretSource, type SourceProblem } from './source.js'
import { addressProblem, checkSourceOptions, KeysSchema, textsOf } from './source-options.js'
import { createVaultClient, type VaultClient } from './vault-client.js'
import { createVaultToken, KubernetesSchema } from './vault-token.js'

/** Segments of a path, each one or more characters; Vault's own names have no others. */
const PATH = '^[A-Za-z0-9_.@=+ -]+(/[A-Za-z0-9_.@=+ -]+)*$'
const PATH_FIX = 'Write it without a slash at either end, without `data/` and without dots as a segment: team/app.'

const VaultSecretsSchema = Type.Object({
  address: Type.String({ minLength: 1, fix: 'Write https://vault.example.com:8200.' }),
  path: Type.String({ pattern: PATH, maxLength: 1024, fix: PATH_FIX }),
  mount: Type.Optional(
    Type.String({
      pattern: PATH,
      maxLength: 1024,
      fix: PATH_FIX,
      description: 'Where the KV version 2 engine is mounted. Default `secret`.',
    }),
  ),
  namespace: Type.Optional(
    Type.String({ pattern: '^[A-Za-z0-9_./-]{1,256}$', fix: 'Write a namespace such as team-a/.' }),
  ),
  token: Type.Optional(Type.String({ minLength: 1, fix: 'Give the token, or tokenFile or kubernetes instead.' })),
  tokenFile: Type.Optional(
    Type.String({
      minLength: 1,
      fix: 'Write the path of the file that Vault Agent keeps the token in; it is read again at each load.',
    }),
  ),
  kubernetes: Type.Optional(KubernetesSchema),
  keys: KeysSchema,
  unsafeHttp: Type.Optional(Type.Boolean({ description: 'Allows an http:// address that is not on this machine.' })),
}, { additionalProperties: false })

/** Options of `vaultSecrets`. */
export type VaultSecretsOptions = Static<typeof VaultSecretsSchema>

/**
 * One secret of HashiCorp Vault's KV version 2 engine: its keys are the variables. It needs the policy
 * `path "<mount>/data/<path>" { capabilities = ["read"] }` and nothing else.
 */
export function vaultSecrets (options: VaultSecretsOptions): SecretSource {
  const { options: checked, problems } = checkSourceOptions(VaultSecretsSchema, options, 'vaultSecrets')
  if (checked !== null) problems.push(...contradictions(checked))
  if (checked === null || problems.length > 0) {
    return { name: 'Vault', load: async () => { throw new SecretSourceError(problems) } }
  }
  const { path, mount = 'secret', namespace } = checked
  const client = createVaultClient(checked.address, namespace ?? null)
  const token = createVaultToken(checked, client)
  const read = createReader(client, `v1/${encodePath(mount)}/data/${encodePath(path)}`)
  return {
    name: `Vault ${mount}/${path}`,
    async load (names, { signal }) {
      const data = await token.use(async (own) => await read(own, signal), signal)
      return textsOf(data, names, checked.keys)
    },
  }
}

function contradictions (
  { address, path, mount = 'secret', token, tokenFile, kubernetes, unsafeHttp = false }: VaultSecretsOptions,
): SourceProblem[] {
  const problems: SourceProblem[] = []
  const wrongAddress = addressProblem(address, 'vaultSecrets.address', unsafeHttp)
  if (wrongAddress !== null) problems.push(wrongAddress)
  for (const [option, text] of [['path', path], ['mount', mount]] as const) {
    if (text.split('/').some((segment) => segment === '.' || segment === '..')) {
      problems.push({ message: `vaultSecrets.${option}: Dots as a segment would lead to another path.`, fix: PATH_FIX })
    }
  }
  if ([token, tokenFile, kubernetes].filter((way) => way !== undefined).length !== 1) {
    problems.push({
      message: 'vaultSecrets: Exactly one of token, tokenFile and kubernetes is needed.',
      fix: 'Write the one that this service signs in with.',
    })
  }
  return problems
}

function encodePath (path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

type Data = Readonly<Record<string, unknown>>

/**
 * Reads the present version. A standby of a cluster may lag behind: an answer that is older than one seen before, by
 * its version and by its time, is not taken for a rotation. (A secret that was made anew begins at version 1, but
 * later.)
 */
function createReader (client: VaultClient, path: string): (token: string, signal: AbortSignal) => Promise<Data> {
  let newest: { readonly version: number, readonly createdAt: number, readonly data: Data } | null = null
  return async (token, signal) => {
    const body = await client.request({ method: 'GET', path, token, signal, missing: NO_SECRET })
    const outer = isPlainObject(body) ? body['data'] : undefined
    const data = isPlainObject(outer) ? outer['data'] : undefined
    const metadata = isPlainObject(outer) ? outer['metadata'] : undefined
    // KV version 1 answers with the keys themselves.
    if (!isPlainObject(data) || !isPlainObject(metadata) || typeof metadata['version'] !== 'number') {
      throw new SecretSourceError({
        message: 'The answer is not one of a KV version 2 engine.',
        fix: 'Check `mount` and `path`: version 1 engines are not read (vault kv enable-versioning).',
      })
    }
    const found = { version: metadata['version'], createdAt: Date.parse(String(metadata['created_time'])), data }
    if (newest !== null && found.version < newest.version && !(found.createdAt > newest.createdAt)) return newest.data
    newest = found
    return data
  }
}

const NO_SECRET: SourceProblem = {
  message: 'There is no such secret, or its present version was deleted (404).',
  fix: 'Check `mount`, `path` and `namespace`; write the path without `data/`.',
}
