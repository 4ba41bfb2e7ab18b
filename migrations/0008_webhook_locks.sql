-- Webhook locks: a repository has one webhook to Netlify, whoever's links use it, so one link at a time may make or remove it.

create table webhook_locks (
    repository text primary key,
    tenant     text not null,
    link_id    uuid not null references links (id) on delete cascade,
    fence      bigint not null,
    taken_at   timestamptz not null default now(),
    ended_at   timestamptz
);
comment on table webhook_locks is 'Which link may make or remove the webhook of a repository. One that has not ended holds as long as the link''s lease.';
comment on column webhook_locks.repository is 'Host and the provider''s id of the repository, as in resources.host.';
comment on column webhook_locks.tenant is 'Who owns the link.';
comment on column webhook_locks.link_id is 'The link that took it last.';
comment on column webhook_locks.fence is 'The lease under which the link took it: with that lease, the lock is over.';
comment on column webhook_locks.taken_at is 'When it was taken.';
comment on column webhook_locks.ended_at is 'When the outcome was saved; null while it is held, or was lost with its lease.';
create index webhook_locks_by_link on webhook_locks (link_id);
alter table webhook_locks enable row level security;
alter table webhook_locks force row level security;
create policy by_tenant on webhook_locks using (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, update, delete on webhook_locks to linkbroker_app;
    end if;
end
$$;
