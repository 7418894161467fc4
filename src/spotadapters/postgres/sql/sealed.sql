-- name: sealed_last
select sealed from (
    (select sealed, created_at from tokens where sealed is not null order by created_at desc limit 1)
    union all
    (select sealed_address, created_at from channels order by created_at desc limit 1)
) newest order by created_at desc limit 1;

-- name: sealed_tokens
select token_hash, sealed from tokens where sealed is not null;

-- name: sealed_channels
select channel_id, sealed_address from channels;

-- name: sealed_tokens_forget
update tokens set sealed = null where token_hash = any(%(hashes)s);
