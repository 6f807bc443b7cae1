import { Type } from 'fastify-bulwark'
import { PROJECT_STATUSES } from './repositories/projects.js'
import { ROLES } from './repositories/users.js'

/** What goes in and out. The suite refuses control characters in every text, so that Postgres never sees a NUL. */

/** Letters of any script, spaces, apostrophes, hyphens and full stops; a letter first. Takes linear time for any input. */
const FULL_NAME = '^ *\\p{L}[\\p{L}\\p{M} \'.\u2019-]*[\\p{L}\\p{M}.] *$'

const Limit = Type.Integer({ minimum: 1, maximum: 100, default: 20 })
const Status = Type.OneOf(PROJECT_STATUSES)
const ProjectName = Type.SafeText({ maxLength: 100 })
const Description = Type.Bounded(0, 2000)

/** A closed object: an unknown key, such as `roles` in a registration, is refused. */
const CLOSED = { additionalProperties: false }

export const IdParams = Type.Object({ id: Type.Uuid() }, CLOSED)
export const ListQuery = Type.Object({ limit: Limit }, CLOSED)

export const Registration = Type.Object({
  email: Type.Email(),
  password: Type.Password(),
  fullName: Type.String({ minLength: 2, maxLength: 100, pattern: FULL_NAME }),
}, CLOSED)

export const ForgottenPassword = Type.Object({ email: Type.Email() }, CLOSED)
/** 256 bits, base64url. */
export const PasswordReset = Type.Object({
  token: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
  password: Type.Password(),
}, CLOSED)
/** The old one follows no rule: those belong to where a password is chosen. */
export const PasswordChange = Type.Object({
  current: Type.String({ minLength: 1, maxLength: 1024 }),
  password: Type.Password(),
}, CLOSED)

/** What others may see of a user. */
export const Profile = Type.Object({ id: Type.Uuid(), fullName: Type.String() })
/** What users see of themselves. */
export const Account = Type.Object({ id: Type.Uuid(), email: Type.String(), fullName: Type.String() })
/** What administrators see of a user. */
export const ManagedUser = Type.Object({
  id: Type.Uuid(),
  email: Type.String(),
  fullName: Type.String(),
  roles: Type.Array(Type.OneOf(ROLES)),
  createdAt: Type.DateTime(),
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
  id: Type.Uuid(),
  name: Type.String(),
  description: Type.Union([Type.String(), Type.Null()]),
  status: Status,
  createdAt: Type.DateTime(),
  updatedAt: Type.DateTime(),
})

/** What administrators see of the service's protection. */
export const SecurityView = Type.Object({ posture: Type.Unknown(), limits: Type.Unknown() })

/** Answers that say all by their status. */
export const Nothing = Type.Unsafe<undefined>({ type: 'null' })
/** A page, a file: text that is sent as it is, and never made of an object. */
export const Text = Type.String()

export const StatsView = Type.Object({ users: Type.Integer(), projects: Type.Integer() })
export const Health = Type.Object({ status: Type.Literal('ok') })
