-- An imported price list outranks what agents report, wherever an on-demand price is asked for (Z33, SV-5, DQ-8).
create function listed_ondemand(p_instance_type text, p_region text, p_now timestamptz) returns numeric
    language sql stable as $$
    select l.price from ondemand_list l
    where l.instance_type = p_instance_type and l.region = p_region and l.since <= p_now
    order by l.since desc limit 1
$$;

create or replace function ondemand_in_force(kind text, place text, registered numeric) returns numeric
    language sql stable as $$
    select coalesce(
        listed_ondemand(kind, place, now()),
        (select o.price from ondemand_prices o where o.instance_type = kind and o.region = place and not o.flagged
         order by o.observed_at desc limit 1),
        registered,
        (select o.price from ondemand_prices o where o.instance_type = kind and o.region = place and o.flagged
         order by o.observed_at desc limit 1))
$$;
