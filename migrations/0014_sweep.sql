-- What a sweep needs to know: what it is about to remove, and when a key of ours may have been made without a trace.

alter table resources add column swept_at timestamptz;
comment on column resources.swept_at is 'When a sweep last began to remove it; for a while nobody takes it then.';

create table uncertain_keys (
    connection uuid not null references connections (id),
    tenant     text not null,
    began_at   timestamptz not null,
    ended_at   timestamptz not null,
    noted_at   timestamptz not null default now(),
    primary key (connection, began_at)
);
comment on table uncertain_keys is 'Times in which a call for a deploy key was interrupted: one made then that nobody knows and nobody uses is ours.';
comment on column uncertain_keys.connection is 'The connection to Netlify that was called.';
comment on column uncertain_keys.tenant is 'Who owns the connection.';
comment on column uncertain_keys.began_at is 'When the interrupted try began.';
comment on column uncertain_keys.ended_at is 'When it surely had its effect, if ever.';
comment on column uncertain_keys.noted_at is 'When this was noted; a sweep waits a day.';
alter table uncertain_keys enable row level security;
alter table uncertain_keys force row level security;
create policy by_tenant on uncertain_keys using (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, delete on uncertain_keys to linkbroker_app;
    end if;
end
$$;
