-- A save of a link that stays in its worker's hands changes no indexed column, so that Postgres writes it in place (HOT): no
-- dead entries in the indexes of what is due. What is over is found by when it was accepted, which never changes.

create index links_over_by_creation on links (created_at) where status in ('unlinked', 'canceled');
drop index links_over_by_age;
