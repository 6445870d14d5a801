-- The table of `make run`. It stands on every shard; each shard holds the users whose id it owns.
CREATE TABLE IF NOT EXISTS users (
    id      bigint PRIMARY KEY,
    name    text,
    email   text,
    created timestamptz DEFAULT now()
);
