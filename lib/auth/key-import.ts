import { createPrivateKey, createPublicKey, createSecretKey, sign, verify, type KeyObject } from 'node:crypto'
import type { Problem } from '../response/errors.js'
import { SECRET_FIX, secretProblems } from '../options/secret-strength.js'
import type { TokenAlgorithm } from './keyring.js'

/** A key in use; to verify only, both members are the same secret or public key. */
export interface ImportedKey { readonly signWith: KeyObject, readonly verifyWith: KeyObject }

type Refused = { readonly problems: readonly Omit<Problem, 'path'>[] }

const RSA_MIN_BITS = 2048
/** FIPS 186-5: with a smaller one signatures can be forged against careless verifiers, with 1 against all. */
const RSA_MIN_EXPONENT = 65_537n

const GENERATE: Readonly<Record<Exclude<TokenAlgorithm, 'HS256'>, string>> = {
  ES256: 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256',
  EdDSA: 'openssl genpkey -algorithm ED25519',
  RS256: 'openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072',
}

/** One block and nothing around it: what follows the first would be left out in silence. */
const PEM = /^\s*-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----\s*$/

/** Reads the text of a key, or tells why not. It never throws, and no reason holds a part of the text. */
export function importKey (alg: TokenAlgorithm, text: string, use: 'sign' | 'verify'): ImportedKey | Refused {
  if (alg === 'HS256') return importSecret(text)
  const fix = `Give ${
    use === 'sign' ? 'a PKCS #8 private key' : 'an SPKI public key'
  } as PEM text with its line breaks, for example of: ${GENERATE[alg]}`
  const label = PEM.exec(text)?.[1]
  if (label === undefined) return refuse('Not the text of one PEM block.', fix)
  if (label === 'PUBLIC KEY' && use === 'sign') return refuse('A public key cannot sign.', fix)
  if (label !== 'PRIVATE KEY' && label !== 'PUBLIC KEY') {
    return refuse(
      `A PEM of the type ${label} is not accepted.`,
      `Convert it (openssl pkcs8 -topk8 -nocrypt, or openssl pkey -pubout). ${fix}`,
    )
  }
  const key = parsePem(text.trim(), label)
  if (key === null) return refuse('The PEM cannot be read.', fix)
  const misfit = misfitOf(alg, key)
  if (misfit !== null) return refuse(misfit, fix)
  // Of a private key that only verifies, the private half is not kept.
  const verifyWith = key.type === 'private' ? createPublicKey(key) : key
  if (key.type === 'private' && !isPair(key, verifyWith)) {
    return refuse('Its private and its public half do not fit.', fix)
  }
  return { signWith: use === 'sign' ? key : verifyWith, verifyWith }
}

function importSecret (text: string): ImportedKey | Refused {
  const reasons = secretProblems(text)
  if (reasons.length > 0) return { problems: reasons.map((message) => ({ message, fix: SECRET_FIX })) }
  const key = createSecretKey(Buffer.from(text))
  return { signWith: key, verifyWith: key }
}

function parsePem (text: string, label: 'PRIVATE KEY' | 'PUBLIC KEY'): KeyObject | null {
  const parse = (): KeyObject =>
    label === 'PRIVATE KEY'
      ? createPrivateKey({ key: text, format: 'pem', type: 'pkcs8' })
      : createPublicKey({ key: text, format: 'pem', type: 'spki' })
  // Twice: Node takes an error that an earlier call, not ours perhaps, left in OpenSSL's queue for one of this key, and
  // empties the queue.
  return orNull(parse) ?? orNull(parse)
}

function orNull (parse: () => KeyObject): KeyObject | null {
  try {
    return parse()
  } catch {
    // OpenSSL's reasons do not help, and the caller must not learn more than that the key is wrong.
    return null
  }
}

function misfitOf (
  alg: Exclude<TokenAlgorithm, 'HS256'>,
  { asymmetricKeyType: type, asymmetricKeyDetails: details = {} }: KeyObject,
): string | null {
  switch (alg) {
    case 'ES256':
      return type === 'ec' && details.namedCurve === 'prime256v1' ? null : 'ES256 needs a key of the curve P-256.'
    case 'EdDSA':
      return type === 'ed25519' ? null : 'EdDSA needs an Ed25519 key.'
    case 'RS256':
      if (type !== 'rsa') return 'RS256 needs an RSA key.'
      if ((details.modulusLength ?? 0) < RSA_MIN_BITS) return `RS256 needs at least ${RSA_MIN_BITS} bits.`
      return (details.publicExponent ?? 0n) < RSA_MIN_EXPONENT
        ? `RS256 needs a public exponent of at least ${RSA_MIN_EXPONENT}.`
        : null
  }
}

/** PKCS #8 may carry a public half of its own, which OpenSSL believes. */
function isPair (signWith: KeyObject, verifyWith: KeyObject): boolean {
  const hash = signWith.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  const probe = Buffer.from('fastify-bulwark')
  try {
    return verify(hash, probe, verifyWith, sign(hash, probe, signWith))
  } catch {
    return false
  }
}

function refuse (message: string, fix: string): Refused {
  return { problems: [{ message, fix }] }
}
