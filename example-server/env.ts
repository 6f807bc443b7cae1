import { loadEnv, Type } from 'fastify-bulwark'

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** Every variable of the service; each may also come as NAME_FILE, the path of a file that holds the value. */
export const Variables = Type.Object({
  HOST: Type.String({ minLength: 1, default: '127.0.0.1', description: 'The address to listen on.' }),
  PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 3000,
    description: 'The port to listen on; 0 takes a free one.',
  }),
  NODE_ENV: Type.Union([Type.Literal('development'), Type.Literal('test'), Type.Literal('production')], {
    default: 'development',
    description: 'Write development, test or production.',
  }),
  DATABASE_URL: Type.Optional(
    Type.String({
      redact: true,
      pattern: '^postgres(ql)?://',
      message: 'Not a Postgres URL.',
      requiredIn: 'production',
      description: 'A postgres:// URL.',
    }),
  ),
  REDIS_URL: Type.Optional(
    Type.String({
      redact: true,
      pattern: '^rediss?://',
      message: 'Not a Redis URL.',
      requiredIn: 'production',
      description: 'A redis:// or rediss:// URL, for limits and sessions that all processes share.',
    }),
  ),
  PUBLIC_ORIGIN: Type.Optional(
    Type.String({
      minLength: 1,
      requiredIn: 'production',
      description: 'The origin that browsers reach this service at: https://api.example.com.',
    }),
  ),
  ALLOWED_ORIGINS: Type.Array(Type.String(), {
    separator: ',',
    default: [],
    description: 'Other origins whose pages may call this service with cookies, separated by commas.',
  }),
  ALLOWED_HOSTS: Type.Optional(
    Type.Array(Type.String(), {
      separator: ',',
      minItems: 1,
      requiredIn: 'production',
      description: 'The host names that this service answers to, separated by commas.',
    }),
  ),
  TRUSTED_PROXIES: Type.Optional(
    Type.Array(Type.String(), {
      separator: ',',
      minItems: 1,
      requiredIn: 'production',
      description: 'The CIDR ranges of the proxies in front, separated by commas, or `none`.',
    }),
  ),
  JWT_ACCESS_SECRET: Type.String({
    secret: true,
    generate: true,
    requiredIn: 'production',
    description: 'Signs the access tokens.',
  }),
  JWT_REFRESH_SECRET: Type.String({
    secret: true,
    generate: true,
    requiredIn: 'production',
    description: 'Signs the refresh tokens; another one than JWT_ACCESS_SECRET.',
  }),
  SECURITY_CONTACT: Type.Optional(
    Type.String({
      pattern: '^(mailto:|tel:|https://)[\\x21-\\x7e]+$',
      description: 'Where to report a weakness, for /.well-known/security.txt: a mailto:, tel: or https: address.',
    }),
  ),
  MAIL_DIRECTORY: Type.Optional(
    Type.String({
      minLength: 1,
      description:
        'The pickup directory of a mail server, for links to choose another password; without it there are none.',
    }),
  ),
  MAIL_FROM: Type.String({
    pattern: '^[^\\s<>@]+@[^\\s<>@]+$',
    default: 'no-reply@localhost',
    description: 'The sender of these e-mails.',
  }),
  LOG_LEVEL: Type.Union(LOG_LEVELS.map((level) => Type.Literal(level)), {
    default: 'info',
    description: `Write one of ${LOG_LEVELS.join(', ')}.`,
  }),
})

/** The checked, frozen configuration. */
export type Config = ReturnType<typeof readConfig>

/**
 * Reads `process.env` (and `./.env` outside production), or the given variables and nothing else.
 * @throws BulwarkConfigError that lists everything missing or wrong at once, without a value
 */
export function readConfig (
  source?: Readonly<Record<string, string | undefined>>,
): ReturnType<typeof loadEnv<typeof Variables>> {
  return loadEnv(Variables, source === undefined ? {} : { source })
}

/** Where e-mails go: in development into a directory of its own, to be read there. Null: nowhere. */
export function mailDirectory (config: Config): string | null {
  return config.MAIL_DIRECTORY ?? (config.NODE_ENV === 'development' ? '.data/mail' : null)
}

/** Where PGlite keeps its data when there is no DATABASE_URL; tests keep it in memory. */
export function dataDirectory (config: Config): string | null {
  return config.NODE_ENV === 'test' ? null : '.data/pglite'
}
