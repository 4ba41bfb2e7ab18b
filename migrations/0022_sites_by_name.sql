-- Row-level security lets no condition into an index before the policy but leakproof ones, and ->> is none: a site's name needs a
-- column. The table is written anew for it, which takes seconds per million objects.

drop index resources_site_name;
alter table resources add column site_name text generated always as (case kind when 'site' then attributes ->> 'name' end) stored;
comment on column resources.site_name is 'Of a site: its name at Netlify, from the attributes.';
create index resources_site_name on resources (site_name) where site_name is not null;

-- A link that goes on after an interrupted try asks for all deploy keys of its connection.
create index resources_by_connection on resources (connection, kind);
