-- What is outdated is found without reading the rest.

create index links_over_by_age on links (updated_at) where status in ('unlinked', 'canceled');
create index events_by_age on events using brin (at) with (autosummarize = on);
