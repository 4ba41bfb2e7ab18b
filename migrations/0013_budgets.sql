-- Rate limits of credentials, shared by all processes. Nothing here belongs to a tenant: credentials have names that tell nothing.

create table budgets (
    name        bytea primary key,
    rests_until timestamptz not null default '-infinity',
    changed_at  timestamptz not null default now()
);
create index budgets_by_change on budgets (changed_at);
comment on table budgets is 'What is known of the rate limit of a credential at an upstream.';
comment on column budgets.name is 'HMAC of the API address and the credential under a key of the key ring.';
comment on column budgets.rests_until is 'Nobody calls with the credential before.';
comment on column budgets.changed_at is 'When rests_until was learnt; processes read what is new.';

create table spent_writes (
    name  bytea not null,
    at    timestamptz not null,
    count integer not null
);
create index spent_writes_by_name on spent_writes (name, at);
comment on table spent_writes is 'Things that were made, or may have been, with a credential whose vendor limits how many may be; of the last hour.';
comment on column spent_writes.name is 'As in budgets.';
comment on column spent_writes.at is 'When they were granted.';
comment on column spent_writes.count is 'How many.';
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, update, delete on budgets, spent_writes to linkbroker_app;
    end if;
end
$$;
