-- A row of an investigation may be written by the very statement that opens the investigation, which a plain
-- condition does not see yet. A volatile function looks anew; it sees what its caller may see and no more.
create function nightshift_owns(investigation uuid) returns boolean
    language plpgsql volatile
    as $$ begin return exists (select from investigations i where i.id = investigation); end $$;
do $$
declare
    it name;
begin
    foreach it in array array['investigation_events', 'tool_calls', 'model_uses', 'write_backs']::name[] loop
        execute format('alter policy of_one_tenant on %I with check (nightshift_owns(investigation_id))', it);
    end loop;
end $$;
