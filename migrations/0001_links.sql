-- The first schema: tenants' connections, their links, and what the links did.
--
-- Every table that holds a tenant's data carries the tenant and is behind row level security.
-- A transaction sees the tenant named by the setting `linkbroker.tenant`; the workers' claim and
-- the ledger's questions across tenants set it to `*`, which no tenant can be called.

-- The role that the service works as when its login could bypass row level security.
do $$
begin
    if not exists (select from pg_roles where rolname = 'linkbroker_app') then
        create role linkbroker_app nologin nosuperuser nobypassrls;
    end if;
exception
    -- Another database of the cluster made it in the same moment, or this login may not make
    -- roles; in the second case it cannot bypass row level security either.
    when duplicate_object or unique_violation or insufficient_privilege then null;
end
$$;

create function visible(tenant text) returns boolean
    language sql stable parallel safe
    return current_setting('linkbroker.tenant', true) in (tenant, '*');
comment on function visible is 'Whether the transaction may see rows of this tenant.';

create table data_keys (
    tenant     text primary key,
    key_id     text not null,
    wrapped    bytea not null,
    created_at timestamptz not null default now()
);
comment on table data_keys is 'One data key per tenant, wrapped by a master key of the key ring.';
comment on column data_keys.tenant is 'Whose credentials the key seals.';
comment on column data_keys.key_id is 'Which master key wrapped it.';
comment on column data_keys.wrapped is 'The data key, sealed with the master key.';
comment on column data_keys.created_at is 'When it was made.';

create table connections (
    id              uuid primary key,
    tenant          text not null,
    name            text not null,
    kind            text not null,
    host            text not null,
    credential_type text not null,
    sealed          bytea not null,
    created_by      text not null,
    created_at      timestamptz not null default now(),
    deleted_at      timestamptz
);
create unique index connections_name on connections (tenant, name) where deleted_at is null;
comment on table connections is 'A tenant''s named access to one upstream.';
comment on column connections.id is 'UUID v7, made by the service.';
comment on column connections.tenant is 'Who owns it.';
comment on column connections.name is 'The tenant''s own name for it.';
comment on column connections.kind is 'netlify, github, …';
comment on column connections.host is 'Host of the configured instance, e.g. github.com.';
comment on column connections.credential_type is 'What the sealed bytes hold: token or basic.';
comment on column connections.sealed is 'The credential, sealed with the tenant''s data key for this row.';
comment on column connections.created_by is 'Subject of the caller that made it.';
comment on column connections.created_at is 'When it was made.';
comment on column connections.deleted_at is 'When it was deleted; its credential is wiped then, and the row stays for the links that were made with it.';

create table links (
    id                  uuid primary key,
    tenant              text not null,
    ref                 text,
    spec                jsonb not null,
    labels              jsonb not null,
    netlify_connection  uuid not null references connections (id),
    provider_connection uuid not null references connections (id),
    status              text not null,
    wanted              text not null default 'linked',
    facts               jsonb not null default '{}',
    failure             jsonb,
    version             bigint not null default 1,
    created_by          text not null,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    next_run_at         timestamptz default now(),
    lease_owner         uuid,
    lease_until         timestamptz,
    fence               bigint not null default 0,
    deaths              smallint not null default 0,
    constraint links_wanted_known check (wanted in ('linked', 'unlinked', 'unlinked_keep_site'))
) with (fillfactor = 70);
comment on table links is 'One link: the unit of work. A row is due when next_run_at has come.';
comment on column links.id is 'UUID v7, made by the service; shown as lnk_….';
comment on column links.tenant is 'Who owns it.';
comment on column links.ref is 'The caller''s own name for the link.';
comment on column links.spec is 'The checked request, every default filled in.';
comment on column links.labels is 'The caller''s own labels.';
comment on column links.netlify_connection is 'Access to Netlify.';
comment on column links.provider_connection is 'Access to the git provider.';
comment on column links.status is 'Where it stands, for people.';
comment on column links.wanted is 'What the caller wants it to be; the worker brings it about.';
comment on column links.facts is 'What the steps found and made.';
comment on column links.failure is 'Why it stands still, when it does.';
comment on column links.version is 'One more with every change: the ETag.';
comment on column links.created_by is 'Subject of the caller that made it.';
comment on column links.created_at is 'When it was accepted.';
comment on column links.updated_at is 'When it changed last.';
comment on column links.next_run_at is 'When a worker should take it; null when nothing is left to do. While leased: when the lease ends.';
comment on column links.lease_owner is 'The process that works on it.';
comment on column links.lease_until is 'End of the lease, in database time.';
comment on column links.fence is 'One more with every claim; each write by a worker names it.';
comment on column links.deaths is 'Claims in a row that found an abandoned lease.';

create index links_due on links (next_run_at) where next_run_at is not null;
create index links_held on links (lease_owner) where lease_owner is not null;
create index links_by_tenant on links (tenant, id desc);
create unique index links_ref on links (tenant, ref)
    where ref is not null and status not in ('unlinked', 'canceled');
create unique index links_site on links (tenant, (spec -> 'site' ->> 'name'))
    where status not in ('unlinked', 'canceled');

create table step_runs (
    link_id         uuid not null references links (id) on delete cascade,
    tenant          text not null,
    step            text not null,
    state           text not null,
    attempts        smallint not null default 0,
    intent_at       timestamptz,
    next_attempt_at timestamptz,
    failure         jsonb,
    note            text,
    started_at      timestamptz,
    finished_at     timestamptz,
    primary key (link_id, step)
);
comment on table step_runs is 'One step of one link.';
comment on column step_runs.link_id is 'The link.';
comment on column step_runs.tenant is 'Who owns the link.';
comment on column step_runs.step is 'Name of the step.';
comment on column step_runs.state is 'pending, running, waiting, done, skipped, failed, undone or undo_failed.';
comment on column step_runs.attempts is 'Tries that ended in an error since the last retry.';
comment on column step_runs.intent_at is 'Set before an effect, cleared with its outcome: present means that the effect is uncertain.';
comment on column step_runs.next_attempt_at is 'When to try or look again.';
comment on column step_runs.failure is 'The last failure.';
comment on column step_runs.note is 'What it waits for, or how its undo ended.';
comment on column step_runs.started_at is 'When it was first begun.';
comment on column step_runs.finished_at is 'When it ended.';

create table resources (
    id          uuid primary key,
    tenant      text not null,
    connection  uuid not null references connections (id),
    kind        text not null,
    host        text not null,
    external_id text not null,
    origin      text not null,
    state       text not null,
    attributes  jsonb not null default '{}',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    unique (tenant, kind, host, external_id),
    constraint resources_origin_known check (origin in ('made', 'found')),
    constraint resources_state_known check (state in ('present', 'stock', 'gone'))
);
comment on table resources is 'The ledger of external objects: what exists because of us, and what we lean on.';
comment on column resources.id is 'UUID v7, made by the service.';
comment on column resources.tenant is 'Whose link met it first.';
comment on column resources.connection is 'The access by which it was met.';
comment on column resources.kind is 'deploy_key, installed_key, webhook or site.';
comment on column resources.host is 'Instance it lives at, with the repository where ids are only unique within one.';
comment on column resources.external_id is 'The upstream''s id.';
comment on column resources.origin is 'made by us, or found there.';
comment on column resources.state is 'present, stock (an unused deploy key, free for the next link) or gone.';
comment on column resources.attributes is 'Public data, such as the public key.';
comment on column resources.created_at is 'When it entered the ledger.';
comment on column resources.updated_at is 'When its row changed last.';

create index resources_stock on resources (connection, created_at) where state = 'stock';
create index resources_across_tenants on resources (kind, host, external_id);

create table resource_uses (
    resource_id uuid not null references resources (id) on delete cascade,
    link_id     uuid not null references links (id) on delete cascade,
    tenant      text not null,
    receipt     text,
    primary key (resource_id, link_id)
);
comment on table resource_uses is 'Which links lean on which objects.';
comment on column resource_uses.resource_id is 'The object.';
comment on column resource_uses.link_id is 'The link.';
comment on column resource_uses.tenant is 'Who owns the link.';
comment on column resource_uses.receipt is 'Null while the link leans on it; then what became of it: deleted, already_gone, kept_shared, kept_foreign, kept or stock.';

create index resource_uses_by_link on resource_uses (link_id);

create table events (
    id      bigint generated always as identity primary key,
    link_id uuid not null references links (id) on delete cascade,
    tenant  text not null,
    at      timestamptz not null default now(),
    type    text not null,
    detail  jsonb not null default '{}'
);
comment on table events is 'What happened to a link, in order.';
comment on column events.id is 'Grows with time within a link; the cursor of readers.';
comment on column events.link_id is 'The link.';
comment on column events.tenant is 'Who owns the link.';
comment on column events.at is 'When it was recorded.';
comment on column events.type is 'link.accepted, link.status_changed, step.done, …';
comment on column events.detail is 'Public data of the event.';

create index events_by_link on events (link_id, id);

do $$
declare
    name text;
begin
    foreach name in array array['data_keys', 'connections', 'links', 'step_runs', 'resources', 'resource_uses', 'events'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy by_tenant on %I using (visible(tenant))', name);
        if exists (select from pg_roles where rolname = 'linkbroker_app') then
            execute format('grant select, insert, update, delete on %I to linkbroker_app', name);
        end if;
    end loop;
end
$$;
