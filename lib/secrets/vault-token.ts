import { readFile } from 'node:fs/promises'
import { Type, type Static } from '@sinclair/typebox'
import { isPlainObject } from '../options/check-options.js'
import { errorCode } from '../common/error-code.js'
import { SecretSourceError } from './source.js'
import { VaultRefusal, type VaultClient } from './vault-client.js'

export const KubernetesSchema = Type.Object({
  role: Type.String({ minLength: 1, fix: 'Write the name of the role that the auth method has for this service.' }),
  mount: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$',
      description: 'Where the auth method is mounted. Default `kubernetes`.',
    }),
  ),
  tokenFile: Type.Optional(
    Type.String({ minLength: 1, description: "The service account's token. Default: where Kubernetes mounts it." }),
  ),
}, { additionalProperties: false, fix: "Write { role: 'my-service' }." })

interface TokenOptions {
  readonly token?: string
  readonly tokenFile?: string
  readonly kubernetes?: Static<typeof KubernetesSchema>
}

export interface VaultToken {
  /** Runs with a token; one that was got by signing in and is refused is exchanged once. */
  readonly use: <T>(run: (token: string) => Promise<T>, signal: AbortSignal) => Promise<T>
}

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'
/** Of its life: a token that is about to end is not used any more. */
const USED_SHARE = 0.8

/** A given token, one out of a file that is read each time, or one for the pod's service account. */
export function createVaultToken (
  { token, tokenFile, kubernetes }: TokenOptions,
  client: VaultClient,
  now: () => number = () => performance.now(),
): VaultToken {
  if (kubernetes === undefined) {
    return {
      use: async (run) =>
        await run(token !== undefined ? checked(token, 'The token') : await readToken(tokenFile ?? '')),
    }
  }
  let session: { readonly token: string, readonly until: number } | null = null
  const signIn = async (signal: AbortSignal): Promise<string> => {
    session = await logIn(kubernetes, client, now, signal)
    return session.token
  }
  return {
    async use (run, signal) {
      const kept = session !== null && now() < session.until ? session.token : null
      if (kept === null) return await run(await signIn(signal))
      try {
        return await run(kept)
      } catch (error) {
        if (!(error instanceof VaultRefusal)) throw error
        return await run(await signIn(signal))
      }
    },
  }
}

async function logIn (
  { role, mount = 'kubernetes', tokenFile = SERVICE_ACCOUNT_TOKEN }: Static<typeof KubernetesSchema>,
  client: VaultClient,
  now: () => number,
  signal: AbortSignal,
): Promise<{ token: string, until: number }> {
  const jwt = await readToken(tokenFile)
  const body = await client.request({
    method: 'POST',
    path: `v1/auth/${mount.split('/').map(encodeURIComponent).join('/')}/login`,
    token: null,
    body: { role, jwt },
    signal,
    missing: { message: 'The auth method is not there (404).', fix: 'Check kubernetes.mount and `namespace`.' },
  })
  const auth = isPlainObject(body) ? body['auth'] : undefined
  if (!isPlainObject(auth) || typeof auth['client_token'] !== 'string' || typeof auth['lease_duration'] !== 'number') {
    throw new SecretSourceError({
      message: 'The answer to the sign-in holds no token.',
      fix: 'Check that kubernetes.mount is a Kubernetes auth method.',
    })
  }
  // 0 is a token without an end.
  const seconds = auth['lease_duration'] === 0 ? Infinity : auth['lease_duration']
  return {
    token: checked(auth['client_token'], 'The token of the sign-in'),
    until: now() + seconds * 1000 * USED_SHARE,
  }
}

async function readToken (path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new SecretSourceError({
      message: `The file of the token cannot be read (${errorCode(error)}).`,
      fix: 'Mount it, or correct its path and permissions.',
    })
  })
  return checked(text.trim(), 'The file of the token')
}

/** In a header anything else would fail with a message that quotes it. */
function checked (token: string, what: string): string {
  if (/^[\x21-\x7e]{1,16384}$/.test(token)) return token
  throw new SecretSourceError({
    message: `${what} is empty or holds what no token has.`,
    fix: 'Give the token alone, without spaces and line breaks.',
  })
}
