-- What the rows of sandboxes and investigations were, one after the other. A row's changes are in order,
-- as each is made under the row's lock. Whoever makes one need not be allowed to write here.
create table chaos_audit (
    seq     bigint generated always as identity primary key,
    what    text not null,
    id      uuid not null,
    state   text not null,
    partner uuid,
    epoch   bigint
);

create function chaos_note_sandbox() returns trigger language plpgsql
    security definer set search_path = public as $$
begin
    insert into chaos_audit (what, id, state, partner, epoch)
    values ('sandbox', new.id, new.state, new.investigation_id, new.epoch);
    return null;
end $$;
create trigger chaos_note after insert or update on sandboxes
    for each row execute function chaos_note_sandbox();

create function chaos_note_investigation() returns trigger language plpgsql
    security definer set search_path = public as $$
begin
    insert into chaos_audit (what, id, state, partner, epoch)
    values ('investigation', new.id, new.state, new.sandbox_id, new.epoch);
    return null;
end $$;
create trigger chaos_note after insert or update on investigations
    for each row execute function chaos_note_investigation();

-- What functions of the version before write has the form of the version before. They are this version's
-- binaries under another name, as nobody has the old ones at hand; the form is what others see of them.
create sequence chaos_old_steps;
create function chaos_older_sender() returns trigger language plpgsql
    security definer set search_path = public as $$
begin
    if current_setting('application_name') = 'nightshift-before' then
        new.payload := (new.payload - 'trace') || '{"v": 1}';
        perform nextval('chaos_old_steps');
    end if;
    return new;
end $$;
create trigger chaos_older_sender before insert on outbox
    for each row execute function chaos_older_sender();
