import { Type, type Static } from '@sinclair/typebox'
import { isPlainObject } from '../options/check-options.js'
import { SecretSourceError, type SecretSource, type SourceProblem } from './source.js'
import { addressProblem, checkSourceOptions, KeysSchema, textsOf } from './source-options.js'

const AwsSecretsSchema = Type.Object({
  secretId: Type.String({ minLength: 1, maxLength: 2048, fix: 'Write the name or the ARN of the secret.' }),
  region: Type.Optional(
    Type.String({
      pattern: '^[a-z0-9-]{1,40}$',
      description: 'Default: AWS_REGION or the profile, as the client finds it.',
      fix: 'Write a region such as eu-central-1.',
    }),
  ),
  endpoint: Type.Optional(Type.String({ minLength: 1, fix: 'Write the URL of a VPC endpoint, or leave it out.' })),
  keys: KeysSchema,
  unsafeHttp: Type.Optional(Type.Boolean({ description: 'Allows an http:// endpoint that is not on this machine.' })),
}, { additionalProperties: false })

/** Options of `awsSecrets`. */
export type AwsSecretsOptions = Static<typeof AwsSecretsSchema>

/** The part of the client that is used. */
interface Client { readonly read: (signal: AbortSignal) => Promise<{ readonly SecretString?: string | undefined }> }

/**
 * One secret of AWS Secrets Manager, a JSON object whose keys are the variables. It is read by the official client, an
 * optional peer, with the credentials that the client finds itself; it needs `secretsmanager:GetSecretValue` and
 * nothing else.
 */
export function awsSecrets (options: AwsSecretsOptions): SecretSource {
  const { options: checked, problems } = checkSourceOptions(AwsSecretsSchema, options, 'awsSecrets')
  const wrongEndpoint = checked?.endpoint === undefined
    ? null
    : addressProblem(checked.endpoint, 'awsSecrets.endpoint', checked.unsafeHttp ?? false)
  if (wrongEndpoint !== null) problems.push(wrongEndpoint)
  if (checked === null || problems.length > 0) {
    return { name: 'AWS Secrets Manager', load: async () => { throw new SecretSourceError(problems) } }
  }
  let client: Promise<Client> | null = null
  return {
    name: `AWS Secrets Manager ${checked.secretId}`,
    async load (names, { signal }) {
      client ??= createClient(checked)
      const { SecretString: text } = await read(await client, signal)
      // The secrets that AWS makes for databases hold their port as a number.
      const data = Object.entries(parse(text)).map(([key, value]) =>
        [key, typeof value === 'number' || typeof value === 'boolean' ? String(value) : value] as const
      )
      return textsOf(Object.fromEntries(data), names, checked.keys)
    },
  }
}

async function createClient ({ secretId, region, endpoint }: AwsSecretsOptions): Promise<Client> {
  // Loaded only here, because it is an optional peer.
  const sdk = await import('@aws-sdk/client-secrets-manager').catch(() => {
    throw new SecretSourceError({
      message: 'The package @aws-sdk/client-secrets-manager is not installed.',
      fix: 'Run: npm install @aws-sdk/client-secrets-manager',
    })
  })
  const manager = new sdk.SecretsManagerClient({
    ...(region !== undefined && { region }),
    ...(endpoint !== undefined && { endpoint }),
  })
  const command = new sdk.GetSecretValueCommand({ SecretId: secretId })
  return { read: async (signal) => await manager.send(command, { abortSignal: signal }) }
}

async function read (client: Client, signal: AbortSignal): ReturnType<Client['read']> {
  try {
    return await client.read(signal)
  } catch (error) {
    const name = error instanceof Error ? error.name : ''
    // Its message is not shown: AWS and proxies in between choose its text.
    throw new SecretSourceError(
      REASONS[name] ??
        {
          message: `The request failed (${/^[A-Za-z]{1,60}$/.test(name) ? name : 'unknown error'}).`,
          fix: 'Check the region, the network and the credentials.',
        },
    )
  }
}

const MAY_READ = 'Give the role of this service secretsmanager:GetSecretValue on this secret.'
const CREDENTIALS: SourceProblem = {
  message: 'There are no valid credentials.',
  fix: 'Give the service a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
}

const REASONS: Readonly<Partial<Record<string, SourceProblem>>> = {
  ResourceNotFoundException: {
    message: 'There is no such secret in this region.',
    fix: 'Check `secretId` and `region`.',
  },
  AccessDeniedException: { message: 'Access is denied.', fix: MAY_READ },
  DecryptionFailure: {
    message: 'The secret cannot be decrypted.',
    fix: 'Give the role of this service kms:Decrypt on the key of the secret.',
  },
  InvalidRequestException: {
    message: 'The secret is not readable in its state; it may be scheduled for deletion.',
    fix: 'Restore it, or name another.',
  },
  CredentialsProviderError: CREDENTIALS,
  UnrecognizedClientException: CREDENTIALS,
  InvalidSignatureException: CREDENTIALS,
  ExpiredTokenException: CREDENTIALS,
  ThrottlingException: { message: 'AWS limits the rate of requests.', fix: 'Refresh less often.' },
}

function parse (text: string | undefined): Readonly<Record<string, unknown>> {
  const fix = 'Store the variables as keys and values: {"JWT_ACCESS_SECRET":"..."}.'
  if (text === undefined) throw new SecretSourceError({ message: 'The secret is binary.', fix })
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch {
    data = null
  }
  if (!isPlainObject(data)) throw new SecretSourceError({ message: 'The secret is not a JSON object.', fix })
  return data
}
