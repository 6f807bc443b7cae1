/**
 * The schema, as one script that may run any number of times: it runs at every start. A later change is appended here
 * in the same way (`alter table ... add column if not exists`). Nothing in it depends on a value.
 */
export const SCHEMA = `
create table if not exists users (
  id uuid primary key default gen_random_uuid(),
  number bigint generated always as identity unique,
  email text not null unique check (email = lower(email)),
  full_name text not null,
  password_hash text not null,
  roles text[] not null default '{user}' check (roles <@ '{user,admin}'),
  created_at timestamptz not null default now()
);

create table if not exists projects (
  id uuid primary key default gen_random_uuid(),
  number bigint generated always as identity unique,
  owner_id uuid not null references users (id) on delete cascade,
  name text not null,
  description text,
  status text not null check (status in ('active', 'paused', 'done')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

create index if not exists projects_of_owner on projects (owner_id, number desc);

create table if not exists password_resets (
  token_hash bytea primary key,
  user_id uuid not null references users (id) on delete cascade,
  expires_at timestamptz not null
);

create index if not exists password_resets_of_user on password_resets (user_id);
`

/**
 * Two processes may start at once, and `create ... if not exists` alone is a race in Postgres: the second waits here.
 * The number is arbitrary; it only has to be the same in every process. The lock ends with the transaction.
 */
export const LOCKED_SCHEMA = `begin; select pg_advisory_xact_lock(4018263571); ${SCHEMA} commit;`
