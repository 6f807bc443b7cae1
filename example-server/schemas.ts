import { Type } from 'fastify-bulwark'
import { PROJECT_STATUSES } from './repositories/projects.js'
import { ROLES } from './repositories/users.js'

/**
 * What goes in and out. No pattern lets a control character through: Postgres answers a NUL with an error of its own.
 * Each pattern takes linear time for any input, because it sees input that is too long as well.
 */

const PASSWORD = '^(?=.*\\p{Ll})(?=.*\\p{Lu})(?=.*\\p{Nd})(?=.*[^\\p{L}\\p{M}\\p{N}\\s])[^\\p{Cc}\\p{Cs}]*$'
/** Letters of any script, spaces, apostrophes, hyphens and full stops; a letter first. */
const FULL_NAME = '^ *\\p{L}[\\p{L}\\p{M} \'.\u2019-]*[\\p{L}\\p{M}.] *$'
/** One line that does not begin with a space. */
const LINE = '^[^\\p{Cc}\\p{Cs}\\s][^\\p{Cc}\\p{Cs}]*$'
/** Lines and tabs, no other control character. */
const LINES = '^[^\\p{Cs}\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$'
/** Not `format: 'uuid'`, which also takes `urn:uuid:...`: Postgres does not. */
const UUID = '^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'

/** The same rule as that of the suite's login: an address that registers can sign in. */
const Email = Type.String({ format: 'email', maxLength: 254 })
const Id = Type.String({ pattern: UUID })
const Timestamp = Type.String({ format: 'date-time' })
const Limit = Type.Integer({ minimum: 1, maximum: 100, default: 20 })
const Status = Type.Union(PROJECT_STATUSES.map((status) => Type.Literal(status)))
const ProjectName = Type.String({ minLength: 1, maxLength: 100, pattern: LINE })
const Description = Type.String({ maxLength: 2000, pattern: LINES })

/** A closed object: an unknown key, such as `roles` in a registration, is refused. */
const CLOSED = { additionalProperties: false }

export const IdParams = Type.Object({ id: Id }, CLOSED)
export const ListQuery = Type.Object({ limit: Limit }, CLOSED)

const NewPassword = Type.String({ minLength: 12, maxLength: 128, pattern: PASSWORD })

export const Registration = Type.Object({
  email: Email,
  password: NewPassword,
  fullName: Type.String({ minLength: 2, maxLength: 100, pattern: FULL_NAME }),
}, CLOSED)

export const ForgottenPassword = Type.Object({ email: Email }, CLOSED)
/** 256 bits, base64url. */
export const PasswordReset = Type.Object({
  token: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
  password: NewPassword,
}, CLOSED)
/** The old one follows no rule: those belong to where a password is chosen. */
export const PasswordChange = Type.Object({
  current: Type.String({ minLength: 1, maxLength: 1024 }),
  password: NewPassword,
}, CLOSED)

/** What others may see of a user. */
export const Profile = Type.Object({ id: Id, fullName: Type.String() })
/** What users see of themselves. */
export const Account = Type.Object({ id: Id, email: Type.String(), fullName: Type.String() })
/** What administrators see of a user. */
export const ManagedUser = Type.Object({
  id: Id,
  email: Type.String(),
  fullName: Type.String(),
  roles: Type.Array(Type.Union(ROLES.map((role) => Type.Literal(role)))),
  createdAt: Timestamp,
})

export const NewProject = Type.Object({
  name: ProjectName,
  description: Type.Optional(Description),
  status: Type.Optional(Status),
}, CLOSED)

export const ProjectPatch = Type.Object({
  name: Type.Optional(ProjectName),
  description: Type.Optional(Type.Union([Description, Type.Null()])),
  status: Type.Optional(Status),
}, { ...CLOSED, minProperties: 1 })

export const ProjectQuery = Type.Object({ status: Type.Optional(Status), limit: Limit }, CLOSED)

export const ProjectView = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.Union([Type.String(), Type.Null()]),
  status: Status,
  createdAt: Timestamp,
  updatedAt: Timestamp,
})

/** What administrators see of the service's protection. */
export const SecurityView = Type.Object({ posture: Type.Unknown(), limits: Type.Unknown() })

/** Answers that say all by their status. */
export const Nothing = Type.Unsafe<undefined>({ type: 'null' })
/** A page, a file: text that is sent as it is, and never made of an object. */
export const Text = Type.String()

export const StatsView = Type.Object({ users: Type.Integer(), projects: Type.Integer() })
export const Health = Type.Object({ status: Type.Literal('ok') })
