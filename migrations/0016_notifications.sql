-- Notifications: what Netlify signs when it tells us of a site's deploys.

create table subscriptions (
    id         uuid primary key,
    link_id    uuid not null references links (id) on delete cascade,
    tenant     text not null,
    event      text not null,
    secret     bytea not null,
    created_at timestamptz not null default now(),
    unique (link_id, event)
);
comment on table subscriptions is 'Where Netlify tells us of one kind of event on one link''s site.';
comment on column subscriptions.id is 'Random; the end of the address that Netlify is given.';
comment on column subscriptions.link_id is 'The link.';
comment on column subscriptions.tenant is 'Who owns the link.';
comment on column subscriptions.event is 'deploy_building, deploy_created or deploy_failed.';
comment on column subscriptions.secret is 'What Netlify signs with: one secret for each link, sealed with the tenant''s data key.';
comment on column subscriptions.created_at is 'When it was made.';
alter table subscriptions enable row level security;
alter table subscriptions force row level security;
create policy by_tenant on subscriptions using (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, update, delete on subscriptions to linkbroker_app;
    end if;
end
$$;
comment on column resources.kind is 'deploy_key, installed_key, webhook, site, env_variable or notification.';
