-- Publishing says how far the feed is, so that a relay without news needs no second look.
-- A function of its own: a statement would see the position from before it published.
create function publish_up_to(p_now timestamptz, p_limit integer) returns bigint language plpgsql as $$
begin
    perform publish_outbox(p_now, p_limit);
    return (select position from live_feed);
end $$;
