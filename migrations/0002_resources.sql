-- What callers may repeat without harm, when a link first was live, and what connections were found to be good for.

create table idempotency_keys (
    tenant      text not null,
    key         text not null,
    fingerprint bytea not null,
    status      smallint not null,
    headers     jsonb not null,
    body        bytea not null,
    created_at  timestamptz not null default now(),
    primary key (tenant, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);
comment on table idempotency_keys is 'Answers to requests that carried an Idempotency-Key, kept for 24 hours; written in the transaction that did what was asked.';
comment on column idempotency_keys.tenant is 'Who sent the request.';
comment on column idempotency_keys.key is 'The caller''s own name for the request.';
comment on column idempotency_keys.fingerprint is 'HMAC of method, path and body under the tenant''s data key: equal for equal requests, and it tells nothing of a secret in the body.';
comment on column idempotency_keys.status is 'Status of the answer.';
comment on column idempotency_keys.headers is 'Headers of the answer: pairs of name and value.';
comment on column idempotency_keys.body is 'Body of the answer, byte for byte.';
comment on column idempotency_keys.created_at is 'When it was answered.';

alter table links add column live_at timestamptz;
comment on column links.live_at is 'When it first was live; a link that never was is canceled, one that was is unlinked.';

create table connection_checks (
    connection_id uuid primary key references connections (id) on delete cascade,
    tenant        text not null,
    state         text not null,
    requested_at  timestamptz not null default now(),
    lease         uuid,
    due_at        timestamptz default now(),
    claims        smallint not null default 0,
    checked_at    timestamptz,
    identity      text,
    teams         text[],
    scopes        text[],
    expires_at    timestamptz,
    failure       jsonb,
    constraint connection_checks_state_known check (state in ('queued', 'running', 'passed', 'failed'))
);
create index connection_checks_due on connection_checks (due_at) where due_at is not null;
comment on table connection_checks is 'The last check of each connection: a job of the workers, then its outcome.';
comment on column connection_checks.connection_id is 'The connection.';
comment on column connection_checks.tenant is 'Who owns the connection.';
comment on column connection_checks.state is 'queued, running, passed or failed.';
comment on column connection_checks.requested_at is 'When it was asked for.';
comment on column connection_checks.lease is 'Names the claim that works on it; new with every claim, and the outcome names it.';
comment on column connection_checks.due_at is 'When a worker should take it; while one works on it: when the lease ends; null when it is over.';
comment on column connection_checks.claims is 'Claims since it was asked for; too many mean that it kills its workers.';
comment on column connection_checks.checked_at is 'When the outcome was known. The outcome stays while a later check is under way.';
comment on column connection_checks.identity is 'Whom the credential belongs to.';
comment on column connection_checks.teams is 'Slugs of the Netlify teams that it belongs to.';
comment on column connection_checks.scopes is 'What the credential may do, where the upstream says; null: unknown.';
comment on column connection_checks.expires_at is 'When the credential stops working, where the upstream says.';
comment on column connection_checks.failure is 'Why it is not good.';

do $$
declare
    name text;
begin
    foreach name in array array['idempotency_keys', 'connection_checks'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy by_tenant on %I using (visible(tenant))', name);
        if exists (select from pg_roles where rolname = 'linkbroker_app') then
            execute format('grant select, insert, update, delete on %I to linkbroker_app', name);
        end if;
    end loop;
end
$$;
