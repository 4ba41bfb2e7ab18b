-- A credential that an upstream has refused is not tried again until it is replaced or a check passes.

alter table connection_checks add column refusal jsonb;
comment on column connection_checks.refusal is 'What the upstream said when it refused the credential of a link; while it stands, no link calls with it.';
comment on column connection_checks.failure is 'Why it is not good: the outcome of the last check, or the refusal.';
