import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type Test } from 'tap'
import { awsSecrets, SecretSourceError, type SecretSource, type SourceProblem } from '../../../secrets.js'
import { setEnv } from '../../helpers/env.js'

interface Seen { readonly url: string, readonly headers: IncomingMessage['headers'], readonly body: unknown }
interface Aws { readonly endpoint: string, readonly seen: Seen[], answer: (response: ServerResponse) => void }

/** Speaks the AWS JSON 1.1 protocol of GetSecretValue. */
async function startAws (t: Test): Promise<Aws> {
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => { body += text }).on('end', () => {
      aws.seen.push({ url: request.url ?? '', headers: request.headers, body: JSON.parse(body) })
      aws.answer(response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const aws: Aws = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    answer: () => {},
  }
  // Credentials as the client finds them itself, and no files of whoever runs this.
  setEnv(t, {
    AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
    AWS_SECRET_ACCESS_KEY: 'sup3r-secret-key',
    AWS_SESSION_TOKEN: undefined,
    AWS_PROFILE: undefined,
    AWS_REGION: undefined,
    AWS_CONFIG_FILE: '/nonexistent',
    AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
  })
  return aws
}

function gives (members: Readonly<Record<string, unknown>>): Aws['answer'] {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-requestid': '1' })
      .end(
        JSON.stringify({
          ARN: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-AbCdEf',
          CreatedDate: 1.7e9,
          Name: 'app',
          VersionId: 'v1',
          VersionStages: ['AWSCURRENT'],
          ...members,
        }),
      )
  }
}

const load = async (source: SecretSource, ...names: string[]): Promise<Readonly<Record<string, string>>> =>
  await source.load(names, { signal: AbortSignal.timeout(5000) })

async function problemsOf (t: Test, source: SecretSource): Promise<readonly SourceProblem[]> {
  const error: unknown = await load(source, 'A').then(() => null, (reason: unknown) => reason)
  t.ok(error instanceof SecretSourceError)
  const problems = error instanceof SecretSourceError ? error.problems : []
  t.notMatch(JSON.stringify(problems), /sup3r/)
  return problems
}

test('the keys of a JSON secret are read by the official client, which signs the request', async (t) => {
  const aws = await startAws(t)
  aws.answer = gives({
    SecretString: JSON.stringify({ A: 'value-a', 'db-url': 'postgres://x', port: 5432, NULL: null }),
  })
  const source = awsSecrets({
    region: 'eu-central-1',
    secretId: 'prod/app',
    endpoint: aws.endpoint,
    keys: { DATABASE_URL: 'db-url', PORT: 'port' },
  })
  t.equal(source.name, 'AWS Secrets Manager prod/app')
  t.same({ ...await load(source, 'A', 'DATABASE_URL', 'PORT', 'NULL', 'toString') }, {
    A: 'value-a',
    DATABASE_URL: 'postgres://x',
    PORT: '5432',
  })
  const [seen] = aws.seen
  t.match(seen, {
    url: '/',
    headers: { 'x-amz-target': 'secretsmanager.GetSecretValue', 'content-type': 'application/x-amz-json-1.1' },
  })
  t.match(
    seen?.headers.authorization,
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/secretsmanager\/aws4_request, SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, Signature=[0-9a-f]{64}$/,
  )
  t.match(seen?.headers['x-amz-date'], /^\d{8}T\d{6}Z$/)
  t.same(seen?.body, { SecretId: 'prod/app' })
  aws.answer = gives({ SecretString: '{"A":"rotated"}' })
  t.equal((await load(source, 'A'))['A'], 'rotated', 'each load asks again')
})

test('each refusal of AWS has its own words, without those of the answer', async (t) => {
  const aws = await startAws(t)
  const source = awsSecrets({ region: 'eu-central-1', secretId: 'app', endpoint: aws.endpoint })
  const cases: [string, RegExp][] = [
    ['ResourceNotFoundException', /no such secret/],
    ['AccessDeniedException', /denied/],
    ['DecryptionFailure', /decrypted/],
    ['InvalidRequestException', /deletion/],
    ['UnrecognizedClientException', /credentials/],
    ['ExpiredTokenException', /credentials/],
    ['ThrottlingException', /rate/],
    ['SomethingNewException', /failed \(SomethingNewException\)/],
  ]
  for (const [type, message] of cases) {
    aws.answer = (response) => {
      response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1', 'x-amzn-errortype': type }).end(
        JSON.stringify({ __type: type, message: 'sup3r' }),
      )
    }
    t.match((await problemsOf(t, source))[0]?.message, message)
  }
  const secrets: [Readonly<Record<string, unknown>>, RegExp][] = [
    [{ SecretBinary: 'c3VwM3I=' }, /binary/],
    [{ SecretString: 'sup3r' }, /not a JSON object/],
    [{ SecretString: '["sup3r"]' }, /not a JSON object/],
    [{ SecretString: '{"A":["sup3r"]}' }, /is not text/],
  ]
  for (const [members, message] of secrets) {
    aws.answer = gives(members)
    t.match((await problemsOf(t, source))[0]?.message, message)
  }
})

test('an answer that does not come ends with its signal', async (t) => {
  const aws = await startAws(t)
  await t.rejects(
    awsSecrets({ region: 'eu-central-1', secretId: 'app', endpoint: aws.endpoint }).load(['A'], {
      signal: AbortSignal.timeout(150),
    }),
    SecretSourceError,
  )
})

test('without credentials the reason is told', async (t) => {
  const aws = await startAws(t)
  setEnv(t, { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined })
  t.match(
    (await problemsOf(t, awsSecrets({ region: 'eu-central-1', secretId: 'app', endpoint: aws.endpoint })))[0]?.message,
    /credentials/,
  )
  t.same(aws.seen, [])
})

test('options are refused when wrong', async (t) => {
  const ok = { region: 'eu-central-1', secretId: 'app' }
  const cases: [Readonly<Record<string, unknown>>, RegExp][] = [
    [{ secretId: undefined }, /secretId/],
    [{ secretId: '' }, /secretId/],
    [{ secretID: 'x' }, /secretID/],
    [{ region: 'EU' }, /region/],
    [{ region: 5 }, /region/],
    [{ endpoint: 'x' }, /endpoint/],
    [{ endpoint: 'http://aws.example' }, /Plain HTTP/],
    [{ keys: { A: 5 } }, /keys/],
    [{ unsafeHttp: 1 }, /unsafeHttp/],
  ]
  for (const [change, message] of cases) {
    t.match(
      (await problemsOf(t, awsSecrets({ ...ok, ...change }))).map((problem) => problem.message).join(),
      message,
      JSON.stringify(change),
    )
  }
})

test('the client is loaded when it is asked, and told to be installed where it is missing', async (t) => {
  const script = `
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent("export async function resolve (name, context, next) { if (name.startsWith('@aws-sdk/')) throw Object.assign(new Error('gone'), { code: 'ERR_MODULE_NOT_FOUND' }); return next(name, context) }"))
    const { awsSecrets } = await import('fastify-bulwark/secrets')
    const source = awsSecrets({ region: 'eu-central-1', secretId: 'app' })
    await source.load(['A'], { signal: AbortSignal.timeout(1000) }).catch(({ problems }) => { process.stdout.write(JSON.stringify(problems)) })`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
    env: { PATH: process.env['PATH'] },
  })
  t.equal(stderr, '')
  t.match(stdout, /not installed.*npm install @aws-sdk\/client-secrets-manager/)
})
