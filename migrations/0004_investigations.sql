-- One row per investigation. `version` is the compare-and-set token: every transition reads it and
-- writes only where it is unchanged.
create table investigations (
    id          uuid primary key,
    tenant_id   uuid not null references tenants,
    incident_id uuid not null references incidents,
    alert_id    uuid not null references alerts,
    state       text not null
                check (state in ('queued', 'claimed', 'starting', 'working', 'resting',
                                 'concluded', 'cancelled', 'failed')),
    sandbox_id  uuid references sandboxes,
    epoch       bigint,
    deadline_at timestamptz,
    ended_at    timestamptz,
    reason      text,
    restarts    integer not null default 0,
    granted_at  timestamptz,                                -- the first grant, for the run limit
    version     bigint not null default 0,
    created_at  timestamptz not null,

    constraint a_run_has_a_sandbox check (
        (state in ('claimed', 'starting', 'working', 'resting'))
        = (sandbox_id is not null and epoch is not null)
    ),
    constraint live_has_a_deadline check (
        (state in ('concluded', 'cancelled', 'failed')) = (deadline_at is null)
    ),
    constraint an_end_has_a_time check (
        (state in ('concluded', 'cancelled', 'failed')) = (ended_at is not null)
    ),
    constraint a_bad_end_has_a_reason check (
        (state in ('cancelled', 'failed')) = (reason is not null)
    )
);

-- At most one live investigation per sandbox, and per incident.
create unique index investigations_one_a_sandbox on investigations (sandbox_id)
    where sandbox_id is not null;
create unique index investigations_one_live_an_incident on investigations (incident_id)
    where state not in ('concluded', 'cancelled', 'failed');
create index investigations_of_an_incident on investigations (incident_id);
create index investigations_due on investigations (deadline_at) where deadline_at is not null;
create index investigations_running on investigations (tenant_id)
    where state in ('claimed', 'starting', 'working', 'resting');
create index investigations_of_a_tenant on investigations (tenant_id, created_at);

-- An investigation's place in the claim queue. The place is given once; a ticket that returns to the
-- queue stands where it stood.
create table tickets (
    place            bigint generated always as identity primary key,
    investigation_id uuid not null unique references investigations,
    tenant_id        uuid not null references tenants,
    pool_id          uuid not null references pools,
    state            text not null check (state in ('waiting', 'granted', 'cancelled')),
    created_at       timestamptz not null,
    granted_at       timestamptz
);

create index tickets_waiting on tickets (pool_id, tenant_id, place) where state = 'waiting';

-- What happened to an investigation, for people and the screen. Appended, never changed.
create table investigation_events (
    seq              bigint generated always as identity primary key,
    investigation_id uuid not null references investigations,
    at               timestamptz not null,
    kind             text not null,
    detail           jsonb not null
);

create index investigation_events_of_one on investigation_events (investigation_id, seq);
