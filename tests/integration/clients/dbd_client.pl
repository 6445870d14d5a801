#!/usr/bin/perl
# DBD::Pg: prepared on the server from the first execution on, COPY, cancel, server-side placeholders.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:pg_types);

my $db = DBI->connect('dbi:Pg:', $ENV{PGUSER}, $ENV{PGPASSWORD},
    {RaiseError => 0, PrintError => 0, PrintWarn => 0, AutoCommit => 1});
die DBI->errstr unless $db;
$| = 1;

sub show { join(',', map { ref $_ ? '[' . show(@$_) . ']' : defined $_ ? $_ : 'NULL' } @_) }

sub ask {
    my ($sql, @values) = @_;
    my $statement = $db->prepare($sql) or return print "prepare error ", $db->state, "\n";
    my $done = $statement->execute(@values);
    return print 'error ', $statement->state, ' ', (split /\n/, $statement->errstr)[0], "\n" unless defined $done;
    print "rows $done ", ($statement->{NUM_OF_FIELDS} ? show(@{$statement->{NAME}}, @{$statement->{pg_type}}) : ''), ': ',
        ($statement->{NUM_OF_FIELDS} ? show(@{$statement->fetchall_arrayref}) : ''), "\n";
}

ask("SELECT 1, 2::int8, 1.50::numeric, 'x'::text, true, NULL, '2024-02-03'::date, '{1,2}'::int[], '{\"a\": 1}'::jsonb");
for my $key (1 .. 6) {
    ask('INSERT INTO account (id, owner, balance, flags) VALUES (?, ?, ?, ?) RETURNING *', $key, "o'wner $key", 10.25, [$key, undef]);
}
my $get = $db->prepare('SELECT id, owner, balance FROM account WHERE id = ?');
for my $key (1, 2, 3, 4, 1, 2, 99) {
    $get->execute($key);
    print show(@{$get->fetchall_arrayref}), "\n";
}
ask('INSERT INTO account (id, owner) VALUES (?, ?)', 1, 'again');
ask('SELEC 1');
ask('SELECT * FROM nowhere WHERE id = ?', 1);
ask('SELECT 1/?::int', 0);
{
    local $db->{pg_server_prepare} = 0;
    ask('SELECT owner FROM account WHERE id = ?', 5);
}
$db->begin_work;
ask('INSERT INTO entry SELECT 3, ?, ?', $_, "w$_") for 1 .. 12;
$db->pg_savepoint('s');
ask('INSERT INTO entry VALUES (3, 1, NULL)');
$db->pg_rollback_to('s');
$db->commit;
$db->begin_work;
$db->do("DECLARE walk CURSOR FOR SELECT n FROM entry WHERE account = 3 ORDER BY n");
ask('FETCH 5 FROM walk');
ask('FETCH 5 FROM walk');
$db->rollback;

$db->do('COPY plain FROM STDIN');
$db->pg_putcopydata("$_\tv$_\n") for 1 .. 50;
print 'copied ', $db->pg_putcopyend, "\n";
$db->do('COPY (SELECT n, what FROM entry WHERE account = 3 ORDER BY n) TO STDOUT');
my $line;
print $line while $db->pg_getcopydata($line) >= 0;
ask('SELECT count(*) FROM plain');
ask('DELETE FROM plain');

my $slow = $db->prepare('SELECT pg_sleep(20)', {pg_async => 1});
$slow->execute;
select undef, undef, undef, 0.3;
print 'cancelled ', $db->pg_cancel, "\n";
ask("SELECT 'after'");
print join(' ', $db->tables(undef, 'public', 'account', 'TABLE')), "\n";
print join(' ', $db->primary_key(undef, undef, 'entry')), "\n";
$db->do("SET DateStyle = 'German'");
ask("SELECT '2024-02-03'::date");
print $db->ping, "\n";
$db->disconnect;
