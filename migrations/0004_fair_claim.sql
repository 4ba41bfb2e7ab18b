-- Due links by tenant: the claim takes turns.

create index links_due_by_tenant on links (tenant, next_run_at) where next_run_at is not null;
