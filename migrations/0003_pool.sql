-- Interchangeable sandboxes: one image in one region.
create table pools (
    id            uuid primary key,
    name          text not null unique,
    region        text not null,
    image         text not null,                            -- by digest: name@sha256:…
    target_ready  integer not null check (target_ready >= 0),
    max_sandboxes integer not null check (max_sandboxes > 0),
    created_at    timestamptz not null
);

-- One row per sandbox, kept after it is gone. `epoch` grows at every granted start and never resets.
create table sandboxes (
    id               uuid primary key,
    pool_id          uuid not null references pools,
    state            text not null
                     check (state in ('planned', 'provisioning', 'ready', 'claimed', 'retiring', 'gone')),
    investigation_id uuid,
    reason           text,
    epoch            bigint not null default 0 check (epoch >= 0),
    attested_epoch   bigint not null default 0,             -- the last start that got its tokens
    key_thumbprint   text,                                  -- the key that start proved to have
    app              text,
    volume           text,
    machine          text unique,
    machine_version  text,
    deadline_at      timestamptz,
    version          bigint not null default 0,
    created_at       timestamptz not null,
    ready_at         timestamptz,

    constraint claimed_is_somebodys check (state <> 'claimed' or investigation_id is not null),
    constraint retired_has_a_reason check ((state in ('retiring', 'gone')) = (reason is not null)),
    constraint live_has_a_deadline check ((state = 'gone') = (deadline_at is null)),
    constraint attested_is_past check (attested_epoch <= epoch)
);

create index sandboxes_ready on sandboxes (pool_id, ready_at, id) where state = 'ready';
create index sandboxes_live on sandboxes (pool_id, state) where state <> 'gone';
create index sandboxes_due on sandboxes (deadline_at) where deadline_at is not null;

-- At most one sandbox per investigation.
create unique index sandboxes_one_an_investigation on sandboxes (investigation_id)
    where state = 'claimed';

-- Statements of the platform's identity service that were used; each is accepted once.
create table used_statements (
    jti        text primary key,
    expires_at timestamptz not null
);
