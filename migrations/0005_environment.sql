-- Values of the environment variables that links set: sealed, in a table of their own.

create table environments (
    link_id uuid primary key references links (id) on delete cascade,
    tenant  text not null,
    sealed  bytea not null
);
comment on table environments is 'Values of the environment variables that a link sets; names, contexts and marks stand in the link''s spec. Deleted when the link is over.';
comment on column environments.link_id is 'The link.';
comment on column environments.tenant is 'Who owns the link.';
comment on column environments.sealed is 'The values by name, as JSON, sealed with the tenant''s data key for this link.';

alter table environments enable row level security;
alter table environments force row level security;
create policy by_tenant on environments using (visible(tenant));
do $$
begin
    if exists (select from pg_roles where rolname = 'linkbroker_app') then
        grant select, insert, delete on environments to linkbroker_app;
    end if;
end
$$;
comment on column resources.kind is 'deploy_key, installed_key, webhook, site or env_variable.';
