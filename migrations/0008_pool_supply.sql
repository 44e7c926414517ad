-- How pools are kept supplied: which image, how many, how fast, and when not.

-- The images a pool has had. The pool points at the one it makes now; pointing back is a rollback.
create table generations (
    pool_id    uuid not null references pools,
    number     bigint not null check (number > 0),
    image      text not null,                               -- by digest: name@sha256:…
    created_at timestamptz not null,
    primary key (pool_id, number),
    unique (pool_id, image)
);

insert into generations (pool_id, number, image, created_at)
select id, 1, image, created_at from pools;

alter table pools
    add column generation    bigint not null default 1,     -- the one that is made and granted first
    add column surplus_since timestamptz;                   -- since when more are ready than wanted

-- Which image a sandbox was made of, for ever.
alter table sandboxes add column generation bigint not null default 1;

-- Claims by the quarter of a minute: what the moving averages of demand are taken from.
create table claim_counts (
    pool_id uuid not null references pools,
    at      timestamptz not null,
    claims  bigint not null check (claims > 0),
    primary key (pool_id, at)
);

-- How long sandboxes took from their beginning until they were ready.
create table provision_times (
    id       bigint generated always as identity primary key,
    pool_id  uuid not null references pools,
    took_ms  bigint not null check (took_ms >= 0),
    ready_at timestamptz not null
);

create index provision_times_of_a_pool on provision_times (pool_id, id);

-- A token bucket per region, shared by everybody who calls its provider.
create table rates (
    region       text primary key,
    tokens       double precision not null,
    filled_at    timestamptz not null,                      -- when `tokens` was true
    slowed_to    double precision not null check (slowed_to > 0),
    slowed_at    timestamptz not null,                      -- the rate grows back from here
    paused_until timestamptz                                -- as the provider asked
);

-- Whether an image is made in a region.
create table breakers (
    region       text not null,
    image        text not null,
    state        text not null check (state in ('closed', 'open', 'half_open')),
    until        timestamptz,
    recent       text not null check (recent ~ '^[.x]*$'),  -- the last outcomes, oldest first; x failed
    proven       boolean not null,                          -- whether any ever got ready
    trips        integer not null check (trips >= 0),
    last_failure text,
    version      bigint not null default 0,
    primary key (region, image),
    constraint only_a_closed_one_stays check ((state = 'closed') = (until is null))
);
