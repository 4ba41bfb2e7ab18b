-- A job may be claimed again by the worker that had it before: which claim an outcome belongs to is told by the time as well.

comment on column inspections.lease is 'The worker that looks. What it has seen counts as long as due_at is that of its claim too.';
comment on column connection_checks.lease is 'The worker that checks. Its outcome counts as long as due_at is that of its claim too.';
comment on column preflights.lease is 'The worker that looks. Its outcome counts as long as due_at is that of its claim too.';
comment on column patrols.lease is 'The worker that looks. Its outcome counts as long as due_at is that of its claim too.';
comment on column patrols.patrolled_at is 'When all running builds were looked at last.';
comment on column inspections.asked_at is 'When a caller asked for a look last that has not been answered.';
comment on column connection_checks.refusal is 'Why the credential is refused, by the upstream or because it cannot be sent; no link calls with it meanwhile.';
