-- The table of `make run-matrix`: members of Matrix, whose id is a text such as @user:matrix.org.
CREATE TABLE IF NOT EXISTS members (
    user_id    text PRIMARY KEY,
    homeserver text,
    joined     timestamptz DEFAULT now()
);
