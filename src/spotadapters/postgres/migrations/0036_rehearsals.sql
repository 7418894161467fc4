-- A failover on rows of its own that is undone at once: what it leaves behind is plans, in this connection alone.
create function rehearse(p_client jsonb, p_ready jsonb, p_moved jsonb) returns void language plpgsql as $$
declare
    v_client text := p_client ->> 'client_id';
    v_agents text[] := array(select a ->> 'agent_id' from jsonb_array_elements(p_moved -> 'agents') a);
begin
    begin
        insert into clients select * from jsonb_populate_record(null::clients, p_client);
        perform save_agent(p_ready);
        perform load_free_agents(v_client, v_agents, now(), '{}', '{}', '{}', '{}');
        perform market_of(v_client, '', '', now(), now());
        perform save_agent(p_moved);
        perform load_agent(v_client, v_agents[1], now(), '{}', '{}', '{}', '{}', true);
        perform hold_known_agents(v_client, v_agents, array_fill(0, array[cardinality(v_agents)])::bigint[]);
        set constraints all immediate;
        raise exception 'undone' using errcode = 'SC001';
    exception when sqlstate 'SC001' then
        null;
    end;
end $$;
