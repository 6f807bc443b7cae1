import type { Database, Row } from '../database/database.js'
import { instant, text, textList } from '../database/rows.js'

export const ROLES = ['user', 'admin'] as const
export type Role = typeof ROLES[number]

export interface User {
  readonly id: string
  readonly email: string
  readonly fullName: string
  readonly roles: Role[]
  readonly createdAt: string
}

/** The users of the service. E-mail addresses are compared in their normalised form only. */
export interface Users {
  /** @throws SecurityError CONFLICT when the address is taken */
  create (user: { email: string, fullName: string, passwordHash: string }): Promise<User>
  find (id: string): Promise<User | null>
  /** With the password's hash: for signing in, never for an answer. */
  findByEmail (email: string): Promise<{ readonly user: User, readonly passwordHash: string } | null>
  /** The password's hash of a user who is known by now, such as the one signed in; null when there is no such user. */
  passwordHashOf (id: string): Promise<string | null>
  /** False when there is no such user. */
  setPasswordHash (id: string, passwordHash: string): Promise<boolean>
  /** False when it is no longer the old one: a password changed meanwhile stays as it is. */
  replacePasswordHash (id: string, from: string, to: string): Promise<boolean>
  /** Newest first. */
  list (limit: number): Promise<User[]>
  /** True when there is such a user. */
  makeAdmin (email: string): Promise<boolean>
}

export function createUsers (database: Database): Users {
  return {
    async create ({ email, fullName, passwordHash }) {
      const [row] = await database.query(
        `insert into users (email, full_name, password_hash) values ($1, $2, $3)
          returning id, email, full_name, roles, created_at`,
        [normaliseEmail(email), fullName.trim(), passwordHash],
      )
      if (row === undefined) throw new Error('an inserted user was not returned')
      return toUser(row)
    },
    async find (id) {
      const [row] = await database.query('select id, email, full_name, roles, created_at from users where id = $1', [
        id,
      ])
      return row === undefined ? null : toUser(row)
    },
    async findByEmail (email) {
      const [row] = await database.query(
        'select id, email, full_name, roles, created_at, password_hash from users where email = $1',
        [normaliseEmail(email)],
      )
      return row === undefined ? null : { user: toUser(row), passwordHash: text(row['password_hash']) }
    },
    async passwordHashOf (id) {
      const [row] = await database.query('select password_hash from users where id = $1', [id])
      return row === undefined ? null : text(row['password_hash'])
    },
    async setPasswordHash (id, passwordHash) {
      const rows = await database.query('update users set password_hash = $2 where id = $1 returning id', [
        id,
        passwordHash,
      ])
      return rows.length === 1
    },
    async replacePasswordHash (id, from, to) {
      const rows = await database.query(
        'update users set password_hash = $3 where id = $1 and password_hash = $2 returning id',
        [id, from, to],
      )
      return rows.length === 1
    },
    async list (limit) {
      const rows = await database.query(
        'select id, email, full_name, roles, created_at from users order by number desc limit $1',
        [limit],
      )
      return rows.map(toUser)
    },
    async makeAdmin (email) {
      const rows = await database.query(
        'update users set roles = \'{user,admin}\' where email = $1 returning id',
        [normaliseEmail(email)],
      )
      return rows.length === 1
    },
  }
}

/** One account per address however it is spelt: trimmed and in lower case. */
export function normaliseEmail (email: string): string {
  return email.trim().toLowerCase()
}

function toUser (row: Row): User {
  return {
    id: text(row['id']),
    email: text(row['email']),
    fullName: text(row['full_name']),
    roles: textList(row['roles']).filter(isRole),
    createdAt: instant(row['created_at']),
  }
}

function isRole (name: string): name is Role {
  return (ROLES as readonly string[]).includes(name)
}
