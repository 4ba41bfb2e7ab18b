-- The audit: every write, by callers to us and by us to upstreams, in a table that only grows; and the
-- keys of callers that have no issuer.

create table audit (
    id         uuid primary key,
    tenant     text not null,
    at         timestamptz not null default now(),
    caller     text,
    link_id    uuid,
    step       text,
    verb       text not null,
    object     text not null,
    upstream   text,
    status     smallint,
    request_id text
);
comment on table audit is 'Who changed what, here and at the upstreams. Rows are added and never changed; see the runbook for how long they are kept.';
comment on column audit.id is 'UUID v7, made just before the write: a row that is added again after an uncertain commit is the same row. The cursor of readers.';
comment on column audit.tenant is 'Whose things were written.';
comment on column audit.at is 'When the row was added: with a caller''s write, and with the round of an upstream''s.';
comment on column audit.caller is 'Subject of the caller; null when the service itself wrote, working on a link.';
comment on column audit.link_id is 'The link that it was about. No reference: the row outlives everything.';
comment on column audit.step is 'The step that wrote to an upstream.';
comment on column audit.verb is 'What was done: create, unlink, …; or the method of a call to an upstream; adopt for a call that a crash cut off from its record and whose effect was found later.';
comment on column audit.object is 'What it was done to: an id of ours, or the path at the upstream.';
comment on column audit.upstream is 'netlify, github, …; null for a caller''s write.';
comment on column audit.status is 'What the upstream answered; null when its answer was lost.';
comment on column audit.request_id is 'The upstream''s own id of the request.';
create index audit_by_tenant on audit (tenant, id desc);
create index audit_by_link on audit (link_id, id desc) where link_id is not null;

-- Three locks: the role has no right to change rows, no policy lets a change see any, and a trigger
-- refuses it also to the owner.
alter table audit enable row level security;
alter table audit force row level security;
create policy reads on audit for select using (visible(tenant));
create policy appends on audit for insert with check (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert on audit to linkbroker_app;
    end if;
end
$$;

create function refuse_change() returns trigger
    language plpgsql as $$
begin
    raise exception 'rows of % are added and never changed', tg_table_name using errcode = 'insufficient_privilege';
end
$$;
comment on function refuse_change is 'Keeps an append-only table what it is.';
create trigger audit_only_grows before update or delete or truncate on audit
    for each statement execute function refuse_change();

create table api_keys (
    id           uuid primary key,
    tenant       text not null,
    name         text not null,
    scopes       text[] not null,
    secret_hash  bytea not null,
    created_at   timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at   timestamptz,
    constraint api_keys_hash_length check (length(secret_hash) = 32)
);
create unique index api_keys_name on api_keys (tenant, name) where revoked_at is null;
comment on table api_keys is 'Keys of callers without an issuer, made and revoked by a command.';
comment on column api_keys.id is 'Random; the public part of the key.';
comment on column api_keys.tenant is 'Whose things the bearer works with.';
comment on column api_keys.name is 'What the operator calls it; the caller''s subject is made of it.';
comment on column api_keys.scopes is 'What the bearer may do.';
comment on column api_keys.secret_hash is 'SHA-256 of the secret part: 256 random bits need no slower hash.';
comment on column api_keys.created_at is 'When it was made.';
comment on column api_keys.last_used_at is 'When it was last used, to within a minute.';
comment on column api_keys.revoked_at is 'Since when it is not accepted any more. The row stays, for the audit.';
alter table api_keys enable row level security;
alter table api_keys force row level security;
create policy by_tenant on api_keys using (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, update on api_keys to linkbroker_app;
    end if;
end
$$;
