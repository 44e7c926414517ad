-- Where a sender wants to be told what was found. What we send there is signed with the endpoint's secret.
alter table endpoints add column report_url text;

-- Reports that left us. A row is written once the receiver answered for good; until then the step comes
-- again, and the receiver tells repeats by their id.
create table write_backs (
    investigation_id uuid not null references investigations,
    epoch            bigint not null,                       -- the start whose report it was
    endpoint_id      uuid not null references endpoints,
    outcome          text not null check (outcome in ('delivered', 'unwanted')),
    status           integer not null check (status between 100 and 599),
    settled_at       timestamptz not null,
    primary key (investigation_id, epoch)
);

-- Messages that were taken out of a dead-letter queue and parked in the outbox. The queue may show one of them
-- again, even after its step was sent on its way again; it is parked once. Forgotten when no queue can hold it.
create table parked_messages (
    message_id text primary key,
    parked_at  timestamptz not null
);

create index parked_messages_old on parked_messages (parked_at);
