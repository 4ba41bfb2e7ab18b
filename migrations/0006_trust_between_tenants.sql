-- GitHub Apps as credentials, and what is shared between tenants.

alter table connection_checks add column installations jsonb;
comment on column connection_checks.installations is 'Where the connection''s GitHub App is installed; null for other credentials.';
comment on column connections.credential_type is 'What the sealed bytes hold: anonymous, token, basic or github_app.';

create index resources_site_name on resources ((attributes ->> 'name')) where kind = 'site';
