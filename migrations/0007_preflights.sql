-- Preflights: what reading tells of a link that nobody has asked for yet.

create table preflights (
    id                  uuid primary key,
    tenant              text not null,
    spec                jsonb not null,
    netlify_connection  uuid not null references connections (id),
    provider_connection uuid not null references connections (id),
    created_by          text not null,
    state               text not null default 'queued',
    requested_at        timestamptz not null default now(),
    lease               uuid,
    due_at              timestamptz default now(),
    claims              smallint not null default 0,
    checked_at          timestamptz,
    findings            jsonb,
    constraint preflights_state_known check (state in ('queued', 'running', 'done')),
    constraint preflights_done_has_findings check ((state = 'done') = (findings is not null))
);
create index preflights_due on preflights (due_at) where due_at is not null;
create index preflights_by_age on preflights (requested_at);
comment on table preflights is 'What reading tells of a link that was not made: a job of the workers, then its findings. Kept for a day.';
comment on column preflights.id is 'UUID v7.';
comment on column preflights.tenant is 'Who asked.';
comment on column preflights.spec is 'The checked request, as links have it.';
comment on column preflights.netlify_connection is 'The connection to Netlify that the link would use.';
comment on column preflights.provider_connection is 'The connection to the git provider that the link would use.';
comment on column preflights.created_by is 'Subject of the caller.';
comment on column preflights.state is 'queued, running or done.';
comment on column preflights.requested_at is 'When it was asked for.';
comment on column preflights.lease is 'Names the claim that works on it; new with every claim, and the outcome names it.';
comment on column preflights.due_at is 'When a worker should take it; while one works on it: when the lease ends; null when it is done.';
comment on column preflights.claims is 'Claims since it was asked for; too many mean that it kills its workers.';
comment on column preflights.checked_at is 'When the reads were done.';
comment on column preflights.findings is 'What they told.';
alter table preflights enable row level security;
alter table preflights force row level security;
create policy by_tenant on preflights using (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, update, delete on preflights to linkbroker_app;
    end if;
end
$$;
