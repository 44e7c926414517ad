-- Steps to carry out, written in the transaction that made them necessary and deleted once they were handed
-- over (at least once). A row that failed too often is parked with `dead_at` for a person.
create table outbox (
    id           bigint generated always as identity primary key,
    kind         text not null,
    group_key    text not null,                             -- a pool or a tenant: the queue's group
    payload      jsonb not null,
    created_at   timestamptz not null,
    due_at       timestamptz not null,
    attempts     integer not null default 0,
    leased_until timestamptz,
    dead_at      timestamptz,
    last_error   text
);

create index outbox_due on outbox (due_at, id) where dead_at is null;
create index outbox_dead on outbox (dead_at) where dead_at is not null;
