import type { Database, Row } from '../database/database.js'
import { instant, nullableText, text } from '../database/rows.js'

export const PROJECT_STATUSES = ['active', 'paused', 'done'] as const
export type ProjectStatus = typeof PROJECT_STATUSES[number]

export interface Project {
  readonly id: string
  readonly name: string
  readonly description: string | null
  readonly status: ProjectStatus
  readonly createdAt: string
  readonly updatedAt: string
}

export interface ProjectChange {
  readonly name?: string
  /** null removes it. */
  readonly description?: string | null
  readonly status?: ProjectStatus
}

/** Every method takes the owner and has it in its `where`: to know the id of a project is not enough. */
export interface Projects {
  create (owner: string, project: ProjectChange & { readonly name: string }): Promise<Project>
  find (owner: string, id: string): Promise<Project | null>
  /** Newest first. */
  list (owner: string, filter: { readonly status?: ProjectStatus, readonly limit: number }): Promise<Project[]>
  change (owner: string, id: string, change: ProjectChange): Promise<Project | null>
  /** True when there was such a project. */
  remove (owner: string, id: string): Promise<boolean>
}

export function createProjects (database: Database): Projects {
  return {
    async create (owner, { name, description, status }) {
      const [row] = await database.query(
        'insert into projects (owner_id, name, description, status) values ($1, $2, $3, $4) returning id, name, description, status, created_at, updated_at',
        [owner, name, description ?? null, status ?? 'active'],
      )
      if (row === undefined) throw new Error('an inserted project was not returned')
      return toProject(row)
    },
    async find (owner, id) {
      const [row] = await database.query(
        'select id, name, description, status, created_at, updated_at from projects where owner_id = $1 and id = $2',
        [owner, id],
      )
      return row === undefined ? null : toProject(row)
    },
    async list (owner, { status, limit }) {
      const rows = await database.query(
        `select id, name, description, status, created_at, updated_at from projects
          where owner_id = $1 and ($2::text is null or status = $2) order by number desc limit $3`,
        [owner, status ?? null, limit],
      )
      return rows.map(toProject)
    },
    async change (owner, id, { name, description, status }) {
      const [row] = await database.query(
        `update projects set name = coalesce($3, name), description = case when $4 then $5 else description end,
           status = coalesce($6, status), updated_at = now()
          where owner_id = $1 and id = $2 returning id, name, description, status, created_at, updated_at`,
        [owner, id, name ?? null, description !== undefined, description ?? null, status ?? null],
      )
      return row === undefined ? null : toProject(row)
    },
    async remove (owner, id) {
      const rows = await database.query('delete from projects where owner_id = $1 and id = $2 returning id', [
        owner,
        id,
      ])
      return rows.length === 1
    },
  }
}

function toProject (row: Row): Project {
  return {
    id: text(row['id']),
    name: text(row['name']),
    description: nullableText(row['description']),
    status: statusOf(text(row['status'])),
    createdAt: instant(row['created_at']),
    updatedAt: instant(row['updated_at']),
  }
}

function statusOf (name: string): ProjectStatus {
  const status = PROJECT_STATUSES.find((known) => known === name)
  if (status === undefined) throw new TypeError('an unknown project status is stored')
  return status
}
