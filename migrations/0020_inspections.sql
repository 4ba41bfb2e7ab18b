-- Inspections: links at rest are looked at again, to see whether the world is still as they left it.

create table inspections (
    link_id    uuid primary key references links (id) on delete cascade,
    tenant     text not null,
    connection uuid not null references connections (id),
    due_at     timestamptz not null,
    asked_at   timestamptz,
    lease      uuid,
    claims     smallint not null default 0,
    checked_at timestamptz,
    remembered jsonb not null default 'null'
);
create index inspections_due on inspections (due_at);
create index inspections_asked on inspections (due_at) where asked_at is not null;
create index inspections_by_connection on inspections (connection, due_at);
create index inspections_pace on inspections (connection, checked_at);
comment on table inspections is 'When each link that came to rest is looked at again: a job of the workers that only reads. Apart from links, so that a look that finds nothing new leaves the link''s row alone.';
comment on column inspections.link_id is 'The link.';
comment on column inspections.tenant is 'Who owns the link.';
comment on column inspections.connection is 'Its connection to Netlify, whose rate limit the looks share.';
comment on column inspections.due_at is 'When a worker should look; while one does: when its lease ends.';
comment on column inspections.asked_at is 'When a caller asked for a look that is not yet done; null when nobody waits for one.';
comment on column inspections.lease is 'Names the claim that works on it; the outcome names it too.';
comment on column inspections.claims is 'Claims without an outcome; too many mean that it kills its workers.';
comment on column inspections.checked_at is 'When a look was last done.';
comment on column inspections.remembered is 'ETags by address of a look that found everything as it was, with the link''s fence then; JSON null when something differed.';
alter table inspections enable row level security;
alter table inspections force row level security;
create policy by_tenant on inspections using (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, update, delete on inspections to linkbroker_app;
    end if;
end
$$;
