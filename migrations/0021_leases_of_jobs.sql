-- A job is due again as soon as its worker is missed, as links are: its lease names the worker. Older versions put a random id
-- there; their jobs may be done twice while the versions change, and only read.

comment on column connection_checks.lease is 'The worker that has it: a row of workers. An outcome counts as long as it has.';
comment on column preflights.lease is 'The worker that has it: a row of workers. An outcome counts as long as it has.';
comment on column inspections.lease is 'The worker that has it: a row of workers. An outcome counts as long as it has.';
comment on column patrols.lease is 'The worker that has it: a row of workers. An outcome counts as long as it has.';
