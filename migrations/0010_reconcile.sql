-- What the provider has and we do not think so, or the other way round. One look proves nothing: lists lag.
create table sightings (
    kind       text not null check (kind in ('orphan', 'unlearned', 'vanished')),
    app        text not null,
    first_seen timestamptz not null,
    last_seen  timestamptz not null,
    primary key (kind, app)
);

-- Which installation this is. Machines carry it, so that two installations in one organisation leave each
-- other's alone.
create table installation (
    one boolean primary key default true check (one),
    id  uuid not null
);

insert into installation (id) values (gen_random_uuid());
