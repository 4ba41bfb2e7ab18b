-- Workers are seen by their database sessions: a lease holds while its process is among them.

-- Not logged: a beat of every process every few seconds is worth no disk, and after a crash of Postgres
-- no session is left, so no worker is.
create unlogged table workers (
    id           uuid primary key,
    session_lock bigint not null,
    started_at   timestamptz not null default now(),
    alive_until  timestamptz not null
);
comment on table workers is 'The processes that hold leases of links. One whose session has ended or whose time is up is removed by whoever notices first, and its links are due at once.';
comment on column workers.id is 'Names the process in leases; new whenever it appears.';
comment on column workers.session_lock is 'Key of the advisory lock that the process holds as long as its session lives.';
comment on column workers.started_at is 'When it appeared.';
comment on column workers.alive_until is 'Until when its leases hold without another beat, in database time.';
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, update, delete on workers to linkbroker_app;
    end if;
end
$$;

comment on column links.next_run_at is 'When a worker should take it; null when nothing is left to do. While leased: the net, in case that nobody misses the owner.';
comment on column links.lease_owner is 'The worker that has it: a row of workers.';
comment on column links.lease_until is 'End of a lease by an older version, whose processes are not among the workers; null otherwise.';
