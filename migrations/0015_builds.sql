-- The history of every link's builds, and who follows them: one patrol for each team at Netlify instead of a poll for each link.

create table builds (
    link_id     uuid not null references links (id) on delete cascade,
    deploy_id   text not null,
    tenant      text not null,
    build_id    text not null,
    outcome     text not null default 'running',
    deploy      jsonb,
    ahead       integer,
    hinted      boolean not null default false,
    created_at  timestamptz not null default now(),
    finished_at timestamptz,
    failure     jsonb,
    log_tail    text[] not null default '{}',
    primary key (link_id, deploy_id)
);
comment on table builds is 'One build of one link''s site, whoever started it, as it was seen last. What has ended stays as it is.';
comment on column builds.link_id is 'The link.';
comment on column builds.deploy_id is 'Netlify''s id of the deploy that the build makes.';
comment on column builds.tenant is 'Who owns the link.';
comment on column builds.build_id is 'Netlify''s id of the build.';
comment on column builds.outcome is 'running, in_review, ready, failed, canceled, unchanged, skipped, blocked or rejected.';
comment on column builds.deploy is 'The deploy as it was seen last; null before it was seen.';
comment on column builds.ahead is 'Builds of the team that were started before and are not over, while it waits for its turn.';
comment on column builds.hinted is 'Whether a notification says that it is over, which nobody has read yet.';
comment on column builds.created_at is 'When it was started, by Netlify''s clock once that is known.';
comment on column builds.finished_at is 'When it was first seen to be over.';
comment on column builds.failure is 'Why it brought no new version of the site.';
comment on column builds.log_tail is 'The end of the log of a build that failed, redacted.';
create index builds_newest on builds (link_id, created_at desc, deploy_id desc);
create index builds_unfinished on builds (link_id) where finished_at is null;

create table patrols (
    connection_id uuid not null references connections (id) on delete cascade,
    team          text not null,
    tenant        text not null,
    planned_at    timestamptz,
    due_at        timestamptz,
    lease         uuid,
    claims        smallint not null default 0,
    patrolled_at      timestamptz,
    primary key (connection_id, team)
);
comment on table patrols is 'One team at Netlify, seen by one connection: a job that looks at all of its running builds at once.';
comment on column patrols.connection_id is 'The connection to Netlify.';
comment on column patrols.team is 'Slug of the team.';
comment on column patrols.tenant is 'Who owns the connection.';
comment on column patrols.planned_at is 'When the team''s running builds are to be looked at next.';
comment on column patrols.due_at is 'When a worker should take it; while one works on it: when the lease ends; null when no link is watched. Before planned_at when only a hint is to be followed.';
comment on column patrols.lease is 'Names the claim that works on it; new with every claim, and the outcome names it.';
comment on column patrols.claims is 'Claims since the last outcome; too many mean that it kills its workers.';
comment on column patrols.patrolled_at is 'When the last outcome was written.';
create index patrols_due on patrols (due_at) where due_at is not null;

create table watches (
    link_id       uuid primary key references links (id) on delete cascade,
    tenant        text not null,
    connection_id uuid not null references connections (id),
    team          text not null,
    site_id       text not null,
    notified      boolean not null default false,
    listed_at     timestamptz not null default now()
);
comment on table watches is 'Links whose sites'' builds are followed: from the attaching of the repository to the end of the link.';
comment on column watches.link_id is 'The link.';
comment on column watches.tenant is 'Who owns the link.';
comment on column watches.connection_id is 'The connection to Netlify.';
comment on column watches.team is 'Slug of the team that owns the site.';
comment on column watches.site_id is 'Netlify''s id of the site.';
comment on column watches.notified is 'Whether Netlify tells us of the site''s builds: we look rarely then.';
comment on column watches.listed_at is 'When the site''s own list of builds was read last: it has those that began and ended between two patrols.';
create index watches_of_patrol on watches (connection_id, team, listed_at);
create index watches_by_site on watches (connection_id, site_id);

alter table links add column news_at timestamptz;
comment on column links.news_at is 'When something was seen that a worker has to heed: a lease from before is followed by another at once.';

do $$
declare
    name text;
begin
    foreach name in array array['builds', 'patrols', 'watches'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy by_tenant on %I using (visible(tenant))', name);
        if exists (select from pg_roles where rolname = 'linkbroker_app') then
            execute format('grant select, insert, update, delete on %I to linkbroker_app', name);
        end if;
    end loop;
end
$$;
