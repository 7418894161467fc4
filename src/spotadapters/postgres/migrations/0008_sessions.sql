-- Dashboard sessions (http-api 2.4): only hashes; a session ends with its token.

create table sessions (
    session_hash text primary key,
    token_hash text not null references tokens on delete cascade,
    created_at timestamptz not null,
    seen_at timestamptz not null
);
create index sessions_by_age on sessions (created_at);
