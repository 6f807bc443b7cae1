import { errorCode } from '../common/error-code.js'
import { SecretSourceError, type SourceProblem } from './source.js'

/** A secret of KV version 2 has at most 1 MiB in Vault's own storage. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024

interface VaultRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly token: string | null
  readonly body?: unknown
  readonly signal: AbortSignal
  /** What a 404 means here. */
  readonly missing: SourceProblem
}

/** Rejects with a `SecretSourceError`; its `refused` tells that Vault did not accept the token (403). */
export interface VaultClient { readonly request: (request: VaultRequest) => Promise<unknown> }

/** Vault did not accept the token, or the token may not do this: Vault does not say which. */
export class VaultRefusal extends SecretSourceError {}

/** Vault's HTTP API, version 1, over Node's own `fetch`. Answers are bounded, redirects refused, bodies never shown. */
export function createVaultClient (address: string, namespace: string | null): VaultClient {
  const base = address.endsWith('/') ? address : `${address}/`
  return {
    async request ({ method, path, token, body, signal, missing }) {
      let response: Response
      try {
        response = await fetch(new URL(path, base), {
          method,
          signal,
          // A redirect would hand the token to another server.
          redirect: 'manual',
          headers: {
            accept: 'application/json',
            // Vault asks for it where it is configured to, against requests that something was talked into sending.
            'x-vault-request': 'true',
            ...(token !== null && { 'x-vault-token': token }),
            ...(namespace !== null && { 'x-vault-namespace': namespace }),
            ...(body !== undefined && { 'content-type': 'application/json' }),
          },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
      } catch (error) {
        throw new SecretSourceError({
          message: `Vault cannot be reached (${errorCode(error)}).`,
          fix:
            'Check `address`, the network and the certificate ' +
            '(NODE_EXTRA_CA_CERTS names the file of a private authority).',
        })
      }
      if (response.status !== 200) {
        await response.body?.cancel()
        throw refusalOf(response.status, missing)
      }
      return parse(await readBounded(response))
    },
  }
}

/** By https://developer.hashicorp.com/vault/api-docs#http-status-codes and the health endpoint's codes. */
function refusalOf (status: number, missing: SourceProblem): SecretSourceError {
  if (status >= 300 && status < 400) {
    return new SecretSourceError({
      message: `Vault answered with a redirect (${status}), which is not followed.`,
      fix: 'Write the address of the active node or of the load balancer.',
    })
  }
  switch (status) {
    case 400:
      return new SecretSourceError({
        message: 'Vault did not understand the request (400).',
        fix: 'Check `mount`, `path`, `namespace` and the role.',
      })
    case 403:
      return new VaultRefusal({
        message: 'Permission denied (403).',
        fix: 'Check that the token is valid in this namespace and that its policy may read this path.',
      })
    case 404:
      return new SecretSourceError(missing)
    case 429:
      return new SecretSourceError({
        message: 'Vault limits the rate of requests, or this node is a standby (429).',
        fix: 'Raise the quota, or write the address of the active node.',
      })
    case 501:
      return new SecretSourceError({
        message: 'Vault is not initialised (501).',
        fix: 'Initialise it: vault operator init.',
      })
    case 503:
      return new SecretSourceError({
        message: 'Vault is sealed or down for maintenance (503).',
        fix: 'Unseal it: vault operator unseal.',
      })
    default:
      return new SecretSourceError({ message: `Vault answered with status ${status}.`, fix: "See Vault's own log." })
  }
}

async function readBounded (response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      length += chunk.length
      if (length > MAX_ANSWER_BYTES) break
      chunks.push(chunk)
    }
  } catch (error) {
    throw new SecretSourceError({
      message: `The answer broke off (${errorCode(error)}).`,
      fix: 'Check the network between here and Vault.',
    })
  }
  if (length > MAX_ANSWER_BYTES) {
    throw new SecretSourceError({
      message: `The answer is larger than ${MAX_ANSWER_BYTES} bytes.`,
      fix: "Check that `address` is Vault's.",
    })
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new SecretSourceError({ message: 'The answer is not JSON.', fix: 'Check that `address` is Vault\'s.' })
  }
}
