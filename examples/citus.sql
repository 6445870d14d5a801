-- The tables of `make run-citus`. On Citus they stand on the coordinator, which spreads their rows over the workers.
CREATE TABLE IF NOT EXISTS users (
    id      bigint PRIMARY KEY,
    name    text,
    email   text,
    created timestamptz DEFAULT now()
);
-- Colocated with users: an order stands on the node of its user.
CREATE TABLE IF NOT EXISTS orders (
    user_id bigint,
    number  int,
    country text,
    amount  numeric(10, 1),
    PRIMARY KEY (user_id, number)
);
CREATE TABLE IF NOT EXISTS members (
    user_id    text PRIMARY KEY,
    homeserver text,
    joined     timestamptz DEFAULT now()
);
-- A reference table: every node has all of it.
CREATE TABLE IF NOT EXISTS countries (
    code text PRIMARY KEY,
    name text
);
