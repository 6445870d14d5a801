-- What every client works on. account and entry are sharded by the account's number; plain stands on the home shard.
CREATE TABLE account (id bigint PRIMARY KEY, owner text NOT NULL, balance numeric(12,2) NOT NULL DEFAULT 0 CHECK (balance >= -100),
    flags int[], info jsonb, made timestamptz, token uuid, raw bytea);
CREATE TABLE entry (account bigint NOT NULL, n int NOT NULL, what text, PRIMARY KEY (account, n));
CREATE TABLE plain (id int PRIMARY KEY, v text);
