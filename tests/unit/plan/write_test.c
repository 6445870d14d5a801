/* Writes on several shards: what is proved, which shards, and what each is told. */
#include "world.h"

#include "../random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct world world;

/* A write's parts as a word for each: its shard, and its text behind a colon where that is not the client's own. */
static const char *parts_of(const struct plan_write *write, const char *text, char *to, size_t size)
{
    size_t at = 0;
    *to = '\0';
    for (size_t i = 0; i < write->part_count && at < size; i++) {
        const struct plan_write_part *part = &write->parts[i];
        at += (size_t)snprintf(to + at, size - at, "%s%u", i ? " " : "", part->shard);
        if (part->text != text && at < size)
            at += (size_t)snprintf(to + at, size - at, ":%.*s", (int)part->size, part->text);
    }
    return to;
}

struct row {
    const char *text;
    const char *expected; /* the parts; else, where there are none, a shard or "refused" */
    const char *why;      /* a part of a refusal; of a write: its flags */
};

/* A letter each: r(eturning), o(rdered), c(lock), d(efaults' clock), s(ame tags), f(ound: until one has a row),
 * k(eeper, with its number); of changes of the schema, w(ords), b(y itself), t(ransaction), u (once a server). */
static const char *flags_of(const struct plan_write *write)
{
    static char flags[16];
    sprintf(flags, "%s%s%s%s%s%s%s%s%s%s", write->has_returning ? "r" : "", write->returning_in_row_order ? "o" : "",
            write->reads_clock ? "c" : "", write->stores_clock ? "d" : "", write->tags == TAGS_SAME ? "s" : "",
            write->until_found ? "f" : "", write->tags == TAGS_WORDS ? "w" : "", write->by_itself ? "b" : "",
            write->needs_transaction ? "t" : "", write->once_a_server ? "u" : "");
    if (write->has_keeper)
        sprintf(flags + strlen(flags), "k%u", write->keeper);
    return flags;
}

static bool expect(const struct row *row)
{
    struct arena arena = ARENA_INIT;
    struct facts facts;
    struct plan plan;
    char parts[4096];
    const char *got = world_plan(&world, row->text, NULL, 0, &arena, &facts, &plan);
    const mosaic_error none = {0}, *error = plan.error ? plan.error : &none;
    if (plan.kind == PLAN_WRITE)
        got = parts_of(plan.write, row->text, parts, sizeof parts);
    bool right = strcmp(got, row->expected) == 0;
    if (right && plan.kind == PLAN_WRITE)
        right = strcmp(flags_of(plan.write), row->why ? row->why : "") == 0;
    else if (right && row->why)
        right = strstr(error->message, row->why) || strstr(error->detail, row->why) || strstr(error->hint, row->why) ||
                strcmp(error->sqlstate, row->why) == 0;
    if (!right)
        fprintf(stderr, "%s\n    expected %s (%s)\n    got      %s (%s) %s %s | %s | %s\n", row->text, row->expected,
                row->why ? row->why : "", got, plan.kind == PLAN_WRITE ? flags_of(plan.write) : "", error->sqlstate,
                error->message, error->detail, error->hint);
    arena_free(&arena);
    return right;
}

#define CHECK_ALL(rows)                                            \
    do {                                                           \
        int wrong = 0;                                             \
        for (size_t r = 0; r < sizeof(rows) / sizeof *(rows); r++) \
            wrong += !expect(&rows[r]);                            \
        assert_int_equal(wrong, 0);                                \
    } while (0)

static void every_owner_changes_its_own_rows(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"UPDATE t SET v = 1", "0 1 2 3"},
        {"UPDATE t SET v = r.rid FROM (SELECT * FROM ref LIMIT 1) r", "refused", "of each copy"},
        {"UPDATE t SET v = (SELECT rid FROM ref OFFSET 1)", "refused", "of each copy"},
        {"WITH x AS (SELECT rid FROM ref LIMIT 1) INSERT INTO t (id, v) VALUES (1, (SELECT rid FROM x)), (2, (SELECT "
         "rid FROM "
         "x))",
         "refused", "of each copy"},
        {"UPDATE t SET v = (SELECT rid FROM ref WHERE tid = t.id LIMIT 1)", "0 1 2 3"},
        {"UPDATE t SET v = v + 1 WHERE v > 3 RETURNING id, v", "0 1 2 3", "r"},
        {"UPDATE t SET v = 1 WHERE id = 5", "s1"},
        {"UPDATE t SET v = 1 WHERE id IN (1, 2)", "1 2"},
        {"UPDATE t SET v = 1 WHERE id IN (1, 5, 9)", "s1"},
        {"UPDATE t SET v = 1 WHERE id = ANY ('{3,2,6}')", "2 3"},
        {"UPDATE t SET v = 1 WHERE id IN (1, 'x')", "refused", "22P02"},
        {"UPDATE t SET v = u.w FROM u WHERE u.tid = t.id", "0 1 2 3"},
        {"UPDATE t SET v = u.w FROM u WHERE u.tid = t.id AND u.tid IN (5, 6)", "1 2"},
        {"UPDATE t SET v = u.w FROM u WHERE u.uid = t.id", "refused", "u are not tied to the key of t"},
        {"UPDATE t SET v = u.w FROM u", "refused", "not tied"},
        {"UPDATE t SET v = 1 FROM t x WHERE x.v = t.v", "refused", "other keys"},
        {"UPDATE t SET v = r.rid FROM ref r WHERE r.tid = t.id", "0 1 2 3"},
        {"UPDATE t SET v = h.v FROM home h WHERE h.tid = t.id", "refused", "home shard"},
        {"UPDATE t SET v = (SELECT max(w) FROM u WHERE u.tid = t.id)", "0 1 2 3"},
        {"UPDATE t SET v = (SELECT max(w) FROM u)", "refused", "not tied"},
        {"UPDATE t SET v = (SELECT count(*) FROM ref)", "0 1 2 3"},
        {"UPDATE t SET v = 1 WHERE id IN (SELECT tid FROM u WHERE w = 3)", "0 1 2 3"},
        {"UPDATE t SET v = 1 WHERE id IN (SELECT tid FROM u LIMIT 3)", "refused", "not tied"},
        {"UPDATE t SET v = 1 WHERE v = (SELECT v FROM t x ORDER BY v LIMIT 1)", "refused", "other keys"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t x WHERE v = 0 FOR UPDATE)", "refused", "locks"},
        {"WITH x AS (SELECT tid, w FROM u) UPDATE t SET v = x.w FROM x WHERE x.tid = t.id", "0 1 2 3"},
        {"WITH x AS (SELECT tid, w FROM u) UPDATE t SET v = a.w FROM x a, x b WHERE a.tid = t.id AND b.tid = t.id",
         "refused", "not tied"},
        {"WITH x AS (SELECT 1 AS w) UPDATE t SET v = x.w FROM x", "0 1 2 3"},
        {"WITH x AS (DELETE FROM u RETURNING tid) UPDATE t SET v = 1 FROM x WHERE x.tid = t.id", "refused",
         "more than one table"},
        {"UPDATE t SET v = i.v FROM i WHERE i.id = t.id", "0 1 2 3"},
        {"UPDATE t SET v = n.v FROM nn n WHERE n.n = t.id", "refused", "not split alike"},
        {"UPDATE t SET id = id", "0 1 2 3"},
        {"UPDATE t SET id = 7", "0 1 2 3", "k3"},
        {"UPDATE t SET id = 6, v = 1 WHERE v = 3 RETURNING v", "0 1 2 3", "rk2"},
        {"UPDATE t SET id = '5' WHERE name = 'x'", "0 1 2 3", "k1"},
        {"UPDATE t SET id = 4.4 WHERE name = 'x'", "refused", "rounded"},
        {"UPDATE t SET id = NULL WHERE name = 'x'", "refused"},
        {"UPDATE t SET id = 'x' WHERE name = 'x'", "refused", "22P02"},
        {"UPDATE t SET id = 7 WHERE id IN (3, 7)", "refused", "key"},
        {"UPDATE t SET id = 7 FROM t x WHERE x.v = t.v", "refused", "other keys"},
        {"UPDATE t SET id = 7, v = u.w FROM u WHERE u.tid = t.id", "0 1 2 3", "k3"},
        {"UPDATE t SET id = DEFAULT", "refused"},
        {"UPDATE t SET id = id + 1", "refused", "Delete the rows"},
        {"UPDATE t SET id = u.tid FROM u WHERE u.tid = t.id", "0 1 2 3"},
        {"UPDATE t SET id = u.w FROM u WHERE u.tid = t.id", "refused", "change the key"},
        {"UPDATE t SET id = r.tid FROM ref r WHERE r.tid = t.id", "refused", "change the key"},
        {"UPDATE t SET (id, v) = (1, 2)", "refused", "change the key"},
        {"UPDATE c2 SET a = a, b = 1", "refused", "change the key"},
        {"UPDATE c2 SET a = 1, b = 2 WHERE v = 1", "0 1 2 3", "k1"},
        {"UPDATE c2 SET v = 1 WHERE a = 1", "0 1 2 3"},
        {"UPDATE c2 SET v = x.v FROM c2 x WHERE x.a = c2.a", "refused", "other keys"},
        {"UPDATE c2 SET v = x.v FROM c2 x WHERE (x.a, x.b) = (c2.a, c2.b)", "0 1 2 3"},
        {"UPDATE t SET v = random()", "refused", "volatile"},
        {"UPDATE t SET v = nextval('seq')", "refused", "home shard"},
        {"UPDATE t SET v = reader(v)", "refused", "IMMUTABLE"},
        {"UPDATE t SET v = pure(v)", "0 1 2 3"},
        {"UPDATE t SET name = now()::text", "0 1 2 3", "c"},
        {"UPDATE t SET name = current_date::text", "0 1 2 3", "c"},
        {"UPDATE t SET name = 'see you now'", "0 1 2 3"},
        {"UPDATE t SET name = 'see you now' || 'x'", "0 1 2 3", "c"},
        {"UPDATE t SET v = 1 WHERE name::date < 'today'", "0 1 2 3", "c"},
        {"UPDATE t SET v = 1 WHERE name < 'nowhere'", "0 1 2 3"},
        {"UPDATE t SET v = DEFAULT", "0 1 2 3"},
        {"UPDATE t SET v = pg_backend_pid()", "refused", "of itself"},
        {"UPDATE t SET v = 1 WHERE ctid = '(0,1)'", "refused", "system column"},
        {"UPDATE t SET v = 1 WHERE CURRENT OF c", "refused", "CURRENT OF"},
        {"UPDATE trig SET v = 1", "refused", "triggers"},
        {"UPDATE tp SET v = 1", "0 1 2 3"},
        {"UPDATE part SET v = 1", "0 1 2 3"},
        {"UPDATE part1 SET v = 1", "0 1 2 3"},
        {"UPDATE ONLY t SET v = 1", "0 1 2 3"},
        {"UPDATE t SET v = 1; UPDATE t SET v = 2", "refused", "not one statement"},
        {"DELETE FROM t", "0 1 2 3"},
        {"DELETE FROM t RETURNING (SELECT max(w) FROM u WHERE tid = t.id)", "0 1 2 3", "r"},
        {"DELETE FROM t RETURNING (SELECT max(w) FROM u)", "refused", "not tied"},
        {"DELETE FROM t USING u WHERE u.tid = t.id AND u.w = 3", "0 1 2 3"},
        {"DELETE FROM t USING u LEFT JOIN ref r ON r.rid = u.w WHERE u.tid = t.id", "0 1 2 3"},
        {"DELETE FROM t WHERE NOT EXISTS (SELECT FROM u WHERE u.tid = t.id)", "0 1 2 3"},
        {"DELETE FROM t WHERE id NOT IN (SELECT tid FROM u)", "refused", "not tied"},
        {"DELETE FROM t WHERE id IN (1, 2, 3)", "1 2 3"},
        {"DELETE FROM home", "s0"},
        {"EXPLAIN DELETE FROM t", "0:DELETE FROM t 1:DELETE FROM t 2:DELETE FROM t 3:DELETE FROM t"},
        {"EXPLAIN ANALYZE DELETE FROM t WHERE id = (SELECT id FROM t LIMIT 1 FOR UPDATE)", "refused", "no counts"},
        {"WITH x AS (DELETE FROM t RETURNING id) SELECT * FROM x", "refused"},
    };
    CHECK_ALL(rows);
}

/* What a shard is told of a source that all have alike. */
#define SIFTED(shard, source, alias, key, inserts)                                                                    \
#shard ":MERGE INTO t USING (SELECT * FROM " source " WHERE " alias "." key "::pg_catalog.int8 IS NULL OR " alias \
           "." key "::pg_catalog.int8 IS NOT NULL AND (" alias "." key "::pg_catalog.int8 & 3) = " #shard             \
           ") AS " alias " ON t.id = " alias "." key " WHEN NOT MATCHED THEN INSERT " inserts
#define TWO_ROWS "(VALUES (1, 2), (2, 3)) s(id, v)"
#define MERGE_U(source, on) "MERGE INTO t USING " source " ON " on " WHEN MATCHED THEN UPDATE SET v = s.w "
#define ELSE_INSERT "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.tid, s.w)"

static void every_owner_merges_what_is_tied_to_its_keys(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN DELETE", "0 1 2 3"},
        {MERGE_U("u s", "t.id = s.tid") ELSE_INSERT, "0 1 2 3"},
        {MERGE_U("u s", "t.id = s.tid AND s.w > 3") ELSE_INSERT, "0 1 2 3"},
        {MERGE_U("u s", "t.id = s.tid AND s.tid = 5") ELSE_INSERT, "0 1 2 3"},
        {MERGE_U("u s", "t.id = s.tid AND t.id = 5") ELSE_INSERT, "0 1 2 3"},
        {MERGE_U("(SELECT * FROM u WHERE tid = 5) s", "t.id = s.tid") ELSE_INSERT, "s1"},
        {MERGE_U("(SELECT * FROM u WHERE tid IN (5, 6)) s", "t.id = s.tid") ELSE_INSERT, "1 2"},
        {MERGE_U("(SELECT tid, max(w) AS w FROM u GROUP BY tid) s", "t.id = s.tid") ELSE_INSERT, "0 1 2 3"},
        {MERGE_U("(SELECT DISTINCT tid, w FROM u) s", "t.id = s.tid") ELSE_INSERT, "0 1 2 3"},
        {MERGE_U("(SELECT tid, w FROM u UNION ALL SELECT id, v FROM i) s", "t.id = s.tid") ELSE_INSERT, "0 1 2 3"},
        {MERGE_U("(SELECT tid, w FROM u ORDER BY w LIMIT 3) s", "t.id = s.tid") ELSE_INSERT, "refused", "other keys"},
        {MERGE_U("(SELECT max(tid) AS tid, 1 AS w FROM u) s", "t.id = s.tid") ELSE_INSERT, "refused", "in every row"},
        {MERGE_U("(SELECT tid, count(*) OVER () AS w FROM u) s", "t.id = s.tid") ELSE_INSERT, "refused", "other keys"},
        {MERGE_U("(SELECT tid + 1 AS tid, w FROM u) s", "t.id = s.tid") ELSE_INSERT, "refused", "in every row"},
        {MERGE_U("(i LEFT JOIN u ON u.tid = i.id) s", "t.id = s.tid") ELSE_INSERT, "refused", "not its source's"},
        {MERGE_U("(u RIGHT JOIN i ON u.tid = i.id) s", "t.id = s.id") "WHEN NOT MATCHED THEN INSERT VALUES (s.id)",
         "0 1 2 3"},
        {MERGE_U("(SELECT i.id AS tid, w FROM i LEFT JOIN u ON u.tid = i.id) s", "t.id = s.tid") ELSE_INSERT,
         "0 1 2 3"},
        {MERGE_U("(SELECT u.tid, w FROM i LEFT JOIN u ON u.tid = i.id) s", "t.id = s.tid") ELSE_INSERT, "refused"},
        {MERGE_U("(SELECT * FROM ref LIMIT 1) s", "t.v = s.rid"), "refused", "of each copy"},
        {MERGE_U("u s", "t.id = s.w") ELSE_INSERT, "refused", "t are not tied to the key of u"},
        {MERGE_U("u s", "t.id = s.tid OR s.w = 1") ELSE_INSERT, "refused", "Tie the target's key"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.w, 1)", "refused",
         "not its source's"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.tid + 1, 1)", "refused",
         "not its source's"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT (id) VALUES (7)", "refused", "not its source's"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT DEFAULT VALUES", "refused"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT (id) VALUES (DEFAULT)", "refused"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT (v) VALUES (1)", "refused", "without the key"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED AND s.w > 1 THEN INSERT (id) VALUES (s.tid) WHEN NOT MATCHED "
                                        "THEN INSERT (id) VALUES (s.uid)",
         "refused", "not its source's"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.tid, (SELECT max(v) FROM i "
                                        "WHERE i.id = s.tid))",
         "0 1 2 3"},
        {MERGE_U("u s", "t.id = s.tid") "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.tid, (SELECT max(v) FROM i))",
         "refused", "rows of i are not tied"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED AND EXISTS (SELECT FROM i WHERE i.v = w) THEN DELETE",
         "refused", "rows of i"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN UPDATE SET id = u.tid", "0 1 2 3"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN UPDATE SET id = w", "refused", "change the key"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN UPDATE SET id = 7", "refused", "change the key"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED AND v = 1 THEN UPDATE SET id = w WHEN MATCHED THEN UPDATE "
         "SET id = u.tid",
         "refused", "change the key"},
        {"MERGE INTO t USING ref r ON t.id = r.tid WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING",
         "0 1 2 3"},
        {"MERGE INTO t USING ref r ON t.v = r.rid WHEN MATCHED THEN UPDATE SET name = label", "0 1 2 3"},
        {"MERGE INTO t USING ref r ON t.id = r.tid WHEN NOT MATCHED AND rid / 0 = 1 THEN DO NOTHING", "refused",
         "what it inserts is not known"},
        {"MERGE INTO t USING ref r ON t.id = r.tid WHEN NOT MATCHED THEN INSERT (id) VALUES (r.tid)",
         SIFTED(0, "ref r", "r", "tid", "(id) VALUES (r.tid)") " " SIFTED(
             1, "ref r", "r", "tid",
             "(id) VALUES (r.tid)") " " SIFTED(2, "ref r", "r", "tid",
                                               "(id) VALUES (r.tid)") " " SIFTED(3, "ref r", "r", "tid",
                                                                                 "(id) VALUES (r.tid)")},
        {"MERGE INTO t USING ref r ON t.id = r.tid WHEN NOT MATCHED THEN INSERT (id) VALUES (r.tid + 1)", "refused",
         "in one transaction"},
        {"MERGE INTO t USING ref r ON t.v = r.tid WHEN NOT MATCHED THEN INSERT (id) VALUES (r.tid)", "refused",
         "other keys"},
        {"MERGE INTO t USING ref r ON t.id = r.tid AND t.id = 5 WHEN NOT MATCHED THEN INSERT (id) VALUES (r.rid)",
         "refused"},
        {"MERGE INTO t USING (VALUES (1, 2), (2, 3)) s(id, v) ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v",
         "1 2"},
        {"MERGE INTO t USING (VALUES (1, 2), (2, 3)) s(id, v) ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES "
         "(s.id)",
         SIFTED(0, TWO_ROWS, "s", "id", "VALUES (s.id)") " " SIFTED(1, TWO_ROWS, "s", "id", "VALUES (s.id)") " " SIFTED(
             2, TWO_ROWS, "s", "id", "VALUES (s.id)") " " SIFTED(3, TWO_ROWS, "s", "id", "VALUES (s.id)")},
        {"MERGE INTO t USING (VALUES (1, 2), (2, 3)) s(id, v) ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES "
         "(s.id + 1)",
         "refused", "ON CONFLICT"},
        {"MERGE INTO t USING t s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v + t.v", "0 1 2 3"},
        {"MERGE INTO t USING t s ON t.v = s.v WHEN MATCHED THEN DELETE", "refused", "other keys"},
        {"MERGE INTO nn USING i ON i.id = n WHEN MATCHED THEN DELETE", "refused", "not split alike"},
        {"MERGE INTO c2 USING c2 s ON c2.a = s.a AND c2.b = s.b WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.b)",
         "0 1 2 3"},
        {"MERGE INTO c2 USING c2 s ON c2.a = s.a AND c2.b = s.b WHEN NOT MATCHED THEN INSERT VALUES (s.b, s.a)",
         "refused", "not its source's"},
        {"MERGE INTO c2 USING c2 s ON c2.a = s.a WHEN MATCHED THEN DELETE", "refused", "other keys"},
        {"MERGE INTO w USING vc s ON w.name = s.name WHEN NOT MATCHED THEN INSERT VALUES (s.name)", "0 1 2 3"},
        {"MERGE INTO vc USING w s ON vc.name = s.name WHEN NOT MATCHED THEN INSERT VALUES (s.name)", "refused",
         "not its source's"},
        {"WITH s AS (SELECT * FROM u) MERGE INTO t USING s ON t.id = s.tid WHEN NOT MATCHED THEN INSERT VALUES (s.tid)",
         "0 1 2 3"},
        {"WITH s AS (DELETE FROM u RETURNING *) MERGE INTO t USING s ON t.id = s.tid WHEN MATCHED THEN DELETE",
         "refused", "more than one table"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN UPDATE SET v = random()", "refused", "volatile"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN UPDATE SET name = now()::text", "0 1 2 3", "c"},
        {"MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN UPDATE SET name = 'see you now'", "0 1 2 3"},
        {"MERGE INTO trig USING u ON trig.id = u.tid WHEN MATCHED THEN DELETE", "refused", "triggers"},
        {"MERGE INTO t USING home h ON t.id = h.tid WHEN MATCHED THEN DELETE", "refused", "home shard"},
        {"MERGE INTO home USING ref ON hid = rid WHEN MATCHED THEN DELETE", "s0"},
        {"EXPLAIN MERGE INTO tp USING u ON tp.id = tid WHEN MATCHED THEN DELETE",
         "0:MERGE INTO tp USING u ON tp.id = tid WHEN MATCHED THEN DELETE "
         "1:MERGE INTO tp USING u ON tp.id = tid WHEN MATCHED THEN DELETE "
         "2:MERGE INTO tp USING u ON tp.id = tid WHEN MATCHED THEN DELETE "
         "3:MERGE INTO tp USING u ON tp.id = tid WHEN MATCHED THEN DELETE"},
    };
    CHECK_ALL(rows);
}

static void one_row_is_picked_and_locked(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t x WHERE v = 0 LIMIT 1 FOR UPDATE)", "0 1 2 3", "f"},
        {"UPDATE t SET v = 1 WHERE t.id IN (SELECT x.id FROM t x WHERE v = 0 FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING "
         "*",
         "0 1 2 3", "rf"},
        {"DELETE FROM t x WHERE x.id = (SELECT id FROM t FOR UPDATE OF t FETCH FIRST ROW ONLY) RETURNING 1", "0 1 2 3",
         "rf"},
        {"DELETE FROM t WHERE id = (SELECT id FROM t WHERE id IN (1, 2) FOR UPDATE LIMIT 1)", "1 2", "f"},
        {"DELETE FROM t WHERE id = (SELECT id FROM t x WHERE EXISTS (SELECT 1 FROM u WHERE u.tid = x.id) FOR UPDATE "
         "LIMIT 1)",
         "0 1 2 3", "f"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t LIMIT 1)", "refused", "other keys"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t FOR UPDATE LIMIT 2)", "refused", "locks"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t OFFSET 1 LIMIT 1 FOR UPDATE)", "refused", "locks"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t ORDER BY v FOR UPDATE LIMIT 1)", "refused", "ORDER BY"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t ORDER BY v FOR UPDATE NOWAIT LIMIT 1)", "refused",
         "waited for"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t WHERE id IN (1, 2) ORDER BY v FOR UPDATE SKIP LOCKED LIMIT "
         "1)",
         "1:SELECT \"t\".ctid, \"t\".xmin, (v) AS \"mosaic:1\"  FROM t WHERE id IN (1, 2)  ORDER BY \"mosaic:1\" ASC "
         "NULLS LAST LIMIT 1 OPERATOR(pg_catalog.+) 16384 "
         "2:SELECT \"t\".ctid, \"t\".xmin, (v) AS \"mosaic:1\"  FROM t WHERE id IN (1, 2)  ORDER BY \"mosaic:1\" ASC "
         "NULLS LAST LIMIT 1 OPERATOR(pg_catalog.+) 16384"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t FOR UPDATE LIMIT 1) AND v = 2", "refused", "locks"},
        {"UPDATE t SET v = 1 WHERE id <> (SELECT id FROM t FOR UPDATE LIMIT 1)", "refused", "other keys"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT v FROM t FOR UPDATE LIMIT 1)", "refused", "other keys"},
        {"UPDATE t SET v = 1 WHERE v = (SELECT id FROM t FOR UPDATE LIMIT 1)", "refused", "other keys"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT tid FROM u FOR UPDATE LIMIT 1)", "refused", "locks"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT x.id FROM t x, u WHERE u.tid = x.id FOR UPDATE LIMIT 1)", "refused",
         "locks"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t x WHERE x.v = t.v FOR UPDATE LIMIT 1)", "refused", "locks"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t x WHERE x.v > (SELECT avg(v) FROM t) FOR UPDATE LIMIT 1)",
         "refused", "other keys"},
        {"UPDATE t SET v = 1 WHERE id = (SELECT id FROM t WHERE v < random() FOR UPDATE LIMIT 1)", "refused",
         "volatile"},
        {"UPDATE t SET v = (SELECT count(*) FROM u) WHERE id = (SELECT id FROM t FOR UPDATE LIMIT 1)", "refused",
         "u are not tied"},
        {"UPDATE t SET id = v WHERE id = (SELECT id FROM t FOR UPDATE LIMIT 1)", "refused", "changes the key"},
        {"WITH x AS (DELETE FROM u WHERE tid = 1) DELETE FROM t WHERE id = (SELECT id FROM t FOR UPDATE LIMIT 1)",
         "refused", "more than one table"},
    };
    CHECK_ALL(rows);
}

#define ALL "0 1 2 3"

static void a_change_of_the_schema_is_where_the_tables_are(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"ALTER TABLE t ADD COLUMN x int", ALL, "w"},
        {"ALTER TABLE ref ADD COLUMN x int DEFAULT 3", ALL, "w"},
        {"ALTER TABLE part1 ADD CHECK (v > 0)", ALL, "w"},
        {"ALTER TABLE home ADD COLUMN x int", "s0"},
        {"ALTER TABLE nosuch ADD COLUMN x int", "s0"},
        {"ALTER TABLE t DROP COLUMN v, ALTER name SET NOT NULL", ALL, "w"},
        {"ALTER TABLE t RENAME COLUMN v TO w", ALL, "w"},
        {"ALTER TABLE tv RENAME COLUMN v TO w", ALL, "w"},
        {"ALTER TABLE hv RENAME COLUMN v TO w", "s0"},
        {"CREATE INDEX ON t (v)", ALL, "w"},
        {"CREATE INDEX ON home (v)", "s0"},
        {"CREATE UNIQUE INDEX ON t (v, id)", ALL, "w"},
        {"CREATE INDEX CONCURRENTLY ti2 ON t (v)", ALL, "wb"},
        {"CREATE INDEX CONCURRENTLY ON t (v)", "refused", "Name the index"},
        {"DROP INDEX ti2", "0 1:DROP INDEX IF EXISTS ti2 2:DROP INDEX IF EXISTS ti2 3:DROP INDEX IF EXISTS ti2", "w"},
        {"/* x */ drop index concurrently\nti2 ;",
         "0 1:/* x */ drop index concurrently IF EXISTS\nti2 ; 2:/* x */ drop index concurrently IF EXISTS\nti2 ; "
         "3:/* x */ drop index concurrently IF EXISTS\nti2 ;",
         "wb"},
        {"DROP INDEX IF EXISTS ti2", ALL, "w"},
        {"ALTER INDEX a RENAME TO b",
         "0 1:ALTER INDEX IF EXISTS a RENAME TO b 2:ALTER INDEX IF EXISTS a RENAME TO b "
         "3:ALTER INDEX IF EXISTS a RENAME TO b",
         "w"},
        {"CREATE TABLE part2 PARTITION OF part FOR VALUES WITH (MODULUS 4, REMAINDER 1)", ALL, "w"},
        {"CREATE TABLE other.part (id bigint)", "s0"},
        {"DROP TABLE t", ALL, "w"},
        {"DROP TABLE t, u CASCADE", ALL, "w"},
        {"DROP TABLE home CASCADE", "s0"},
        {"DROP TABLE IF EXISTS t, home, nosuch", ALL, "w"},
        {"TRUNCATE t, u", ALL, "w"},
        {"TRUNCATE home CASCADE", "s0"},
        {"CREATE VIEW v AS SELECT t.id, r.label FROM t JOIN ref r ON r.tid = t.id", ALL, "w"},
        {"CREATE VIEW v AS SELECT * FROM home", "s0"},
        {"CREATE VIEW v AS SELECT 1 AS one", "s0"},
        {"CREATE OR REPLACE VIEW tv AS SELECT id AS vid, v, name FROM t WHERE v > 1", ALL, "w"},
        {"DROP VIEW tv", ALL, "w"},
        {"DROP VIEW hv", "s0"},
        {"GRANT SELECT ON tv, t, ref TO PUBLIC", ALL, "w"},
        {"GRANT SELECT ON home TO PUBLIC", "s0"},
        {"GRANT USAGE ON SCHEMA public TO PUBLIC", ALL, "w"},
        {"GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC", ALL, "w"},
        {"COMMENT ON COLUMN t.v IS 'x'", ALL, "w"},
        {"COMMENT ON TABLE home IS 'x'", "s0"},
        {"CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION trf()", ALL, "w"},
        {"CREATE POLICY p ON t USING (v > 0)", ALL, "w"},
        {"DROP POLICY p ON t", ALL, "w"},
        {"DROP POLICY p ON home", "s0"},
        {"CREATE TYPE mood AS ENUM ('a')", ALL, "w"},
        {"ALTER TYPE colour ADD VALUE 'blue'", ALL, "w"},
        {"DROP TYPE colour", ALL, "w"},
        {"CREATE DOMAIN d2 AS int", ALL, "w"},
        {"CREATE FUNCTION f2() RETURNS int LANGUAGE sql AS 'SELECT 1'", ALL, "w"},
        {"DROP FUNCTION pure(int)", ALL, "w"},
        {"CREATE EXTENSION citext", ALL, "w"},
        {"CREATE SCHEMA s", ALL, "w"},
        {"CREATE ROLE somebody", ALL, "wu"},
        {"DROP ROLE somebody", ALL, "wu"},
        {"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", ALL, "w"},
        {"LOCK TABLE t", ALL, "wt"},
        {"LOCK TABLE home", "s0"},
        {"VACUUM t", ALL, "wb"},
        {"VACUUM", ALL, "wb"},
        {"ANALYZE t, ref", ALL, "w"},
        {"VACUUM home", "s0"},
        {"REINDEX TABLE t", ALL, "w"},
        {"REINDEX TABLE CONCURRENTLY t", ALL, "wb"},
        {"CLUSTER t USING t_pkey", ALL, "w"},
        {"ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES ref", ALL, "w"},
        {"ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES u (tid)", ALL, "w"},
        {"CREATE TABLE new (id int REFERENCES ref)", "s0"},
    };
    CHECK_ALL(rows);
}

static void rows_of_a_key_that_changes_move(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"UPDATE t SET id = 6 WHERE id = 5", "refused", "foreign key refers"},
        {"UPDATE u SET tid = 6 WHERE tid = 5",
         "1:DELETE FROM \"public\".\"u\" WHERE tid = 5 RETURNING \"u\".\"uid\", \"u\".\"w\" "
         "2:INSERT INTO \"public\".\"u\" (\"uid\", \"tid\", \"w\") OVERRIDING SYSTEM VALUE VALUES ($1, 6, $2)"},
        {"UPDATE u AS x SET w = w + 1, tid = 7 WHERE x.tid = 5 AND x.w IS DISTINCT FROM 2 RETURNING *, x.w;",
         "1:DELETE FROM \"public\".\"u\" AS \"x\" WHERE x.tid = 5 AND x.w IS DISTINCT FROM 2 RETURNING \"x\".\"uid\", "
         "(w + 1) "
         "3:INSERT INTO \"public\".\"u\" AS \"x\" (\"uid\", \"tid\", \"w\") OVERRIDING SYSTEM VALUE VALUES ($1, 7, $2) "
         "RETURNING *, x.w",
         "r"},
        {"UPDATE u SET tid = 6, w = DEFAULT WHERE tid = 5", "refused", "default"},
        {"UPDATE u SET tid = 6 FROM t WHERE t.id = 5 AND u.tid = 5", "refused", "more than the rows"},
        {"WITH x AS (SELECT 1) UPDATE u SET tid = 6 WHERE tid = 5", "refused", "more than the rows"},
        {"UPDATE u SET tid = 6 WHERE tid = 5 AND EXISTS (SELECT 1 FROM ref)", "refused", "more than the rows"},
        {"UPDATE u SET tid = 6, w = (random() * 3)::int WHERE tid = 5", "refused", "volatile"},
        {"UPDATE u SET tid = 9 WHERE tid = 5", "s1"},
        {"UPDATE u SET tid = 6 WHERE tid IN (5, 7)", "refused"},
        {"UPDATE c2 SET a = 2 WHERE a = 1 AND b = 3",
         "0:DELETE FROM \"public\".\"c2\" WHERE a = 1 AND b = 3 RETURNING \"c2\".\"b\", \"c2\".\"v\" "
         "1:INSERT INTO \"public\".\"c2\" (\"a\", \"b\", \"v\") OVERRIDING SYSTEM VALUE VALUES (2, $1, $2)"},
        {"UPDATE c2 SET a = 2 WHERE a = 1", "refused"},
    };
    CHECK_ALL(rows);
}

static void what_could_not_hold_is_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"ALTER TABLE t ADD UNIQUE (v)", "refused", "cannot hold over shards"},
        {"ALTER TABLE t ADD UNIQUE (v, id)", ALL, "w"},
        {"ALTER TABLE c2 ADD PRIMARY KEY (a)", "refused", "sharding key (a, b)"},
        {"ALTER TABLE t ADD COLUMN x int UNIQUE", "refused", "cannot hold over shards"},
        {"ALTER TABLE t ADD EXCLUDE USING gist (v WITH =)", "refused", "cannot hold over shards"},
        {"ALTER TABLE t ADD EXCLUDE USING gist (id WITH =, v WITH &&)", ALL, "w"},
        {"ALTER TABLE ref ADD UNIQUE (label)", ALL, "w"},
        {"CREATE UNIQUE INDEX ON t (v)", "refused", "cannot hold over shards"},
        {"CREATE UNIQUE INDEX ON t ((id + 1))", "refused", "cannot hold over shards"},
        {"ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES home", "refused", "home shard alone"},
        {"ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES u", "refused", "leaves out the sharding key"},
        {"ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES uu", "refused", "not colocated"},
        {"ALTER TABLE ref ADD FOREIGN KEY (tid) REFERENCES t", "refused", "one shard each"},
        {"ALTER TABLE home ADD FOREIGN KEY (tid) REFERENCES t", "refused", "one shard each"},
        {"ALTER TABLE t DROP COLUMN id", "refused", "sharding key"},
        {"ALTER TABLE t ALTER id TYPE int", "refused", "sharding key"},
        {"ALTER TABLE t RENAME COLUMN id TO key", "refused", "sharding key"},
        {"ALTER TABLE t RENAME TO t2", "refused", "pgmosaic apply"},
        {"ALTER TABLE home RENAME TO i", "refused"},
        {"ALTER TABLE t SET SCHEMA other", "refused", "another schema"},
        {"ALTER TABLE t DROP CONSTRAINT mosaic_owner", "refused", "mosaic_owner"},
        {"ALTER TABLE part ATTACH PARTITION home DEFAULT", "refused", "PARTITION OF"},
        {"ALTER TABLE part DETACH PARTITION part1", "refused", "detached"},
        {"ALTER TABLE t ADD COLUMN n serial", "refused", "numbers the rows"},
        {"ALTER TABLE ref ADD COLUMN x uuid DEFAULT gen_random_uuid()", "refused", "each copy"},
        {"ALTER TABLE ref ADD COLUMN x date DEFAULT 'today'", "refused", "each copy"},
        {"ALTER TABLE t ADD COLUMN x uuid DEFAULT gen_random_uuid()", ALL, "w"},
        {"CREATE TABLE u (tid int)", "refused", "another type of its sharding key"},
        {"CREATE TABLE u (uid int)", "refused", "without a column tid"},
        {"CREATE TABLE IF NOT EXISTS u (tid bigint PRIMARY KEY)", ALL, "w"},
        {"CREATE TABLE u (tid bigint, uid int PRIMARY KEY)", "refused", "cannot hold over shards"},
        {"CREATE TABLE u AS SELECT 1", "refused", "every shard"},
        {"CREATE TABLE x () INHERITS (t)", "refused", "partition"},
        {"CREATE VIEW tv AS SELECT * FROM home", "refused", "Drop that first"},
        {"CREATE VIEW home AS SELECT * FROM t", "refused", "Drop that first"},
        {"DROP TABLE t, home", "refused", "two statements"},
        {"DROP SCHEMA public CASCADE", "refused", "the config needs"},
        {"TRUNCATE t, home", "refused", "two statements"},
        {"LOCK TABLE t, home", "refused", "two statements"},
        {"CREATE DATABASE x", "refused", "exec --all"},
        {"ALTER SYSTEM SET work_mem = '1GB'", "refused", "exec --all"},
        {"GRANT CONNECT ON DATABASE x TO PUBLIC", "refused", "exec --all"},
        {"COMMENT ON CONSTRAINT mosaic_owner ON t IS NULL", "refused", "pgmosaic's own"},
        {"CREATE TABLE t (id bigint, n serial)", "refused", "numbered on each shard"},
    };
    CHECK_ALL(rows);
}

static void rows_go_to_their_shards(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"INSERT INTO t (id, v) VALUES (1, 1), (2, 2), (5, 3)",
         "1:INSERT INTO t (id, v) VALUES (1, 1), (5, 3) 2:INSERT INTO t (id, v) VALUES (2, 2)"},
        {"INSERT INTO t VALUES (1, f(',')), (2)", "refused", "not known"},
        {"INSERT INTO t VALUES (1), (5)", "s1"},
        {"insert into public.t as x(v,id)values(1,2),(2,'3') on conflict (id) do update set v=excluded.v ; ",
         "2:insert into public.t as x(v,id)values(1,2) on conflict (id) do update set v=excluded.v ;  "
         "3:insert into public.t as x(v,id)values(2,'3') on conflict (id) do update set v=excluded.v ; "},
        {"INSERT INTO t VALUES (1), (2) RETURNING id",
         "1:INSERT INTO t VALUES (1) RETURNING id "
         "2:INSERT INTO t VALUES (2) RETURNING id",
         "ro"},
        {"INSERT INTO t VALUES (1), (2) ON CONFLICT DO NOTHING RETURNING id",
         "1:INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING RETURNING id "
         "2:INSERT INTO t VALUES (2) ON CONFLICT DO NOTHING RETURNING id",
         "r"},
        {"INSERT INTO t VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET v = 1 RETURNING id",
         "1:INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 1 RETURNING id "
         "2:INSERT INTO t VALUES (2) ON CONFLICT (id) DO UPDATE SET v = 1 RETURNING id",
         "ro"},
        {"INSERT INTO t VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET v = 1 WHERE t.v > 1 RETURNING id",
         "1:INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET v = 1 WHERE t.v > 1 RETURNING id "
         "2:INSERT INTO t VALUES (2) ON CONFLICT (id) DO UPDATE SET v = 1 WHERE t.v > 1 RETURNING id",
         "r"},
        {"INSERT INTO t VALUES (1), (2) ON CONFLICT (id) DO UPDATE SET id = 2", "refused", "key column"},
        {"INSERT INTO c2 VALUES (1, 2, 3), (1, 3, 3)",
         "0:INSERT INTO c2 VALUES (1, 3, 3) 1:INSERT INTO c2 VALUES (1, 2, 3)"},
        {"INSERT INTO tp VALUES (1, 1), (2, 1)", "1:INSERT INTO tp VALUES (1, 1) 2:INSERT INTO tp VALUES (2, 1)"},
        {"INSERT INTO t VALUES (1, random()), (2, 0)",
         "1:INSERT INTO t VALUES (1, random()) 2:INSERT INTO t VALUES (2, 0)"},
        {"INSERT INTO t VALUES (1, (SELECT random())), (2, 0)", "refused", "volatile"},
        {"INSERT INTO t VALUES (1, (SELECT max(rid) FROM ref)), (2, 0)",
         "1:INSERT INTO t VALUES (1, (SELECT max(rid) FROM ref)) 2:INSERT INTO t VALUES (2, 0)"},
        {"INSERT INTO t VALUES (1, (SELECT max(w) FROM u WHERE tid = 1)), (2, 0)", "refused", "beside its rows"},
        {"INSERT INTO t VALUES (1, (SELECT max(v) FROM home)), (2, 0)", "refused", "home"},
        {"INSERT INTO t VALUES (1, generate_series(1, 2)), (2, 0)", "refused", "returns a set"},
        {"INSERT INTO t VALUES (1, nextval('seq')), (2, 0)", "refused", "home"},
        {"INSERT INTO t (id, name) VALUES (1, 'see you now'), (2, 'today')",
         "1:INSERT INTO t (id, name) VALUES (1, 'see you now') 2:INSERT INTO t (id, name) VALUES (2, 'today')"},
        {"INSERT INTO t (id, name) VALUES (1, now()), (2, '')",
         "1:INSERT INTO t (id, name) VALUES (1, now()) 2:INSERT INTO t (id, name) VALUES (2, '')", "c"},
        {"INSERT INTO t (id, name) VALUES (1, 'now'::date), (2, '')",
         "1:INSERT INTO t (id, name) VALUES (1, 'now'::date) 2:INSERT INTO t (id, name) VALUES (2, '')", "c"},
        {"INSERT INTO t (id) VALUES (1), (2+3)", "refused", "no literal"},
        {"INSERT INTO t (v) VALUES (1), (2)", "refused", "key column id"},
        {"INSERT INTO t (id) VALUES (1), (DEFAULT)", "refused", "no literal"},
        {"INSERT INTO t (id) VALUES (1), (2), (NULL)", "refused", "23502"},
        {"INSERT INTO i (id) VALUES (1), (2), (5000000000)", "refused", "22003"},
        {"INSERT INTO t (id) VALUES (1), (2), ('x')", "refused", "22P02"},
        {"WITH x AS (SELECT 7 AS v) INSERT INTO t VALUES (1, (SELECT v FROM x)), (2, 3)",
         "1:WITH x AS (SELECT 7 AS v) INSERT INTO t VALUES (1, (SELECT v FROM x)) "
         "2:WITH x AS (SELECT 7 AS v) INSERT INTO t VALUES (2, 3)"},
        {"WITH x AS (DELETE FROM u WHERE tid = 1) INSERT INTO t VALUES (1), (2)", "refused", "more than one table"},
        {"INSERT INTO t (VALUES (1), (2))", "refused", "words"},
        {"INSERT INTO trig VALUES (1), (2)", "refused", "triggers"},
        {"EXPLAIN (MOSAIC) INSERT INTO t VALUES (1), (2)", "1:INSERT INTO t VALUES (1) 2:INSERT INTO t VALUES (2)"},
    };
    CHECK_ALL(rows);
}

static void a_query_s_rows_stay_where_they_are(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"INSERT INTO t (id, v) SELECT id, v FROM t WHERE v > 3", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t RETURNING *", "0 1 2 3", "r"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t WHERE id IN (1, 2)", "1 2"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t WHERE id = 5", "s1"},
        {"INSERT INTO u (tid, uid) SELECT v, id FROM t", "refused", "not tied"},
        {"INSERT INTO u (tid, uid) SELECT id + 1, v FROM t", "refused", "not the query's"},
        {"INSERT INTO u (uid) SELECT id FROM t", "refused", "key column tid"},
        {"INSERT INTO u (tid, uid) SELECT t.id, i.v FROM t JOIN i ON i.id = t.id", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT t.id, x.v FROM t LEFT JOIN t x ON x.id = t.id", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT t.id, x.v FROM t, t x", "refused", "other keys"},
        {"INSERT INTO u (tid, uid) SELECT t.id, r.rid FROM t JOIN ref r ON r.tid = t.v", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT r.tid, 1 FROM t JOIN ref r ON r.tid = t.id", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT r.tid, 1 FROM ref r", "refused", "no sharded table"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t LIMIT 5", "refused", "LIMIT"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t ORDER BY v", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT id, count(*) FROM t GROUP BY id", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT max(id), v FROM t GROUP BY v", "refused"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t GROUP BY v, id", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT max(id), 1 FROM t", "refused"},
        {"INSERT INTO u (tid, uid) SELECT DISTINCT id, v FROM t", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT DISTINCT ON (v) id, v FROM t", "refused", "DISTINCT"},
        {"INSERT INTO u (tid, uid) SELECT id, row_number() OVER (PARTITION BY id) FROM t", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT id, row_number() OVER () FROM t", "refused", "window"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t UNION ALL SELECT id, v FROM i", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t UNION ALL SELECT tid, uid FROM u", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT id, tid FROM t UNION SELECT tid, uid FROM u", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t UNION ALL SELECT uid, tid FROM u", "refused"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t UNION ALL SELECT 1, 2", "refused"},
        {"INSERT INTO i (id, v) SELECT id, v FROM t", "0 1 2 3"},
        {"INSERT INTO nn (n, v) SELECT n, v FROM nn", "0 1 2 3"},
        {"INSERT INTO nn (n, v) SELECT id, v FROM t", "refused", "not the query's"},
        {"INSERT INTO vc (name, v) SELECT name, v FROM w", "refused", "not the query's"},
        {"INSERT INTO w (name, v) SELECT name, v FROM vc", "0 1 2 3"},
        {"INSERT INTO vc (name, v) SELECT x.name, v FROM (SELECT * FROM vc) x", "0 1 2 3"},
        {"INSERT INTO bp (code, v) SELECT code, v FROM bp", "0 1 2 3"},
        {"INSERT INTO c2 (a, b) SELECT a, b FROM c2", "0 1 2 3"},
        {"INSERT INTO c2 (a, b) SELECT b, a FROM c2", "refused"},
        {"INSERT INTO c2 SELECT * FROM c2", "0 1 2 3"},
        {"INSERT INTO t SELECT id FROM t WHERE name = 'today' AND name::date > now()", "0 1 2 3", "c"},
        {"INSERT INTO t SELECT id, random() FROM t", "refused", "volatile"},
        {"INSERT INTO t SELECT id, hid FROM t, home", "refused", "home"},
        {"INSERT INTO home SELECT id FROM t", "refused"},
        {"INSERT INTO t (id) SELECT id FROM t ON CONFLICT (id) DO UPDATE SET v = excluded.v", "0 1 2 3"},
        {"INSERT INTO t (id) SELECT id FROM t ON CONFLICT (id) DO UPDATE SET v = (SELECT max(w) FROM u WHERE u.tid = "
         "t.id)",
         "0 1 2 3"},
        {"INSERT INTO t (id) SELECT id FROM t ON CONFLICT (id) DO UPDATE SET v = (SELECT max(w) FROM u)", "refused"},
        {"INSERT INTO t (id) SELECT id FROM t RETURNING (SELECT max(w) FROM u WHERE u.tid = t.id)", "0 1 2 3", "r"},
        {"INSERT INTO t (id) SELECT id FROM t RETURNING (SELECT max(w) FROM u)", "refused"},
        {"INSERT INTO priced (id) SELECT id FROM t", "0 1 2 3", "d"},
        {"WITH x AS (SELECT id, v FROM t) INSERT INTO u (tid, uid) SELECT id, v FROM x", "0 1 2 3"},
        {"INSERT INTO u (tid, uid) WITH x AS (SELECT id, v FROM t) SELECT id, v FROM x", "0 1 2 3"},
        {"WITH x AS (DELETE FROM t RETURNING id, v) INSERT INTO u (tid, uid) SELECT id, v FROM x", "refused",
         "more than"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM (SELECT id, v FROM t LIMIT 5) x", "refused", "other keys"},
        {"INSERT INTO t (id) SELECT id FROM tg", "0 1 2 3"},
        {"INSERT INTO t (id) SELECT x.id FROM (VALUES (1), (2)) x(id)", "refused", "no sharded table"},
        {"INSERT INTO t (id) SELECT x.id FROM (VALUES (1), (5)) x(id)", "s1"},
        {"INSERT INTO t (id) SELECT id FROM t WHERE id = 5 UNION ALL SELECT 6", "refused"},
    };
    CHECK_ALL(rows);
}

/* What is behind the text that the first shard is told, and what all others are. */
#define PUT(n, name, returning)                                                                                   \
    " " #n ":INSERT INTO \"public\".\"" name "\" (\"code\", \"price\", \"made\", \"n\") OVERRIDING SYSTEM VALUE " \
    "VALUES (" VALUES_PUT ")" returning
#define GIVEN_TO_ALL(alias, name, returning)                                                       \
    " RETURNING \"" alias "\".\"code\", \"" alias "\".\"price\", \"" alias "\".\"made\", \"" alias \
    "\".\"n\"" PUT(1, name, returning) PUT(2, name, returning) PUT(3, name, returning)
#define VALUES_PUT "$1, $2, $3, $4"

static void copies_stay_equal(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"UPDATE ref SET label = 'x' WHERE rid = 1", "0 1 2 3", "s"},
        {"UPDATE ref SET label = 'x' RETURNING *", "0 1 2 3", "rs"},
        {"DELETE FROM ref", "0 1 2 3", "s"},
        {"DELETE FROM ref WHERE tid IN (SELECT id FROM t)", "refused", "not whole on every shard"},
        {"DELETE FROM ref WHERE tid IN (SELECT hid FROM home)", "refused", "home"},
        {"DELETE FROM ref USING codes c WHERE c.code = rid", "0 1 2 3", "s"},
        {"UPDATE ref SET tid = c.n FROM codes c WHERE c.code = rid", "refused", "any may be taken"},
        {"UPDATE ref SET tid = (SELECT n FROM codes c WHERE c.code = rid)", "0 1 2 3", "s"},
        {"UPDATE ref SET tid = (SELECT n FROM codes c LIMIT 1)", "refused", "LIMIT"},
        {"UPDATE ref SET tid = (SELECT count(*) FROM codes)", "0 1 2 3", "s"},
        {"UPDATE ref SET tid = (SELECT max(n) FROM codes)", "0 1 2 3", "s"},
        {"UPDATE ref SET label = (SELECT max(price) FROM codes)", "refused", "order of rows"},
        {"UPDATE ref SET label = (SELECT string_agg(r.label, ',') FROM ref r)", "refused", "order of rows"},
        {"UPDATE ref SET label = ARRAY(SELECT n FROM codes)::text", "refused", "array"},
        {"UPDATE ref SET label = (SELECT DISTINCT price FROM codes)", "refused", "equal"},
        {"UPDATE ref SET label = (SELECT row_number() OVER () FROM codes)", "refused", "window"},
        {"UPDATE ref SET label = random()", "refused", "volatile"},
        {"UPDATE ref SET label = now()", "0 1 2 3", "cs"},
        {"UPDATE ref SET label = 'see you now'", "0 1 2 3", "s"},
        {"UPDATE codes SET made = 'now'", "0 1 2 3", "cs"},
        {"UPDATE codes SET made = '2020-01-01'", "0 1 2 3", "s"},
        {"UPDATE codes SET made = DEFAULT", "0 1 2 3", "cds"},
        {"UPDATE codes SET n = DEFAULT", "refused", "default of n"},
        {"UPDATE codes SET (code, n) = (1, DEFAULT)", "refused", "default of n"},
        {"UPDATE ref SET label = 'x' WHERE ctid = '(0,1)'", "refused", "system column"},
        {"UPDATE refv SET tid = 1", "0 1 2 3", "s"},
        {"INSERT INTO ref VALUES (1), (2)", "0 1 2 3", "s"},
        {"INSERT INTO ref VALUES (1, 1, 'a') ON CONFLICT DO NOTHING", "0 1 2 3", "s"},
        {"INSERT INTO ref VALUES (1) ON CONFLICT (rid) DO UPDATE SET label = excluded.label", "0 1 2 3", "s"},
        {"INSERT INTO ref SELECT code FROM codes", "0 1 2 3", "s"},
        {"INSERT INTO ref SELECT code FROM codes ORDER BY code", "0 1 2 3", "s"},
        {"INSERT INTO ref SELECT code FROM codes LIMIT 3", "refused", "LIMIT"},
        {"INSERT INTO ref SELECT code FROM codes ON CONFLICT DO NOTHING", "refused", "come first"},
        {"INSERT INTO ref SELECT id FROM t", "refused", "not whole"},
        {"INSERT INTO ref SELECT g FROM generate_series(1, 3) g", "0 1 2 3", "s"},
        {"INSERT INTO ref DEFAULT VALUES", "0 1 2 3", "s"},
        {"INSERT INTO codes VALUES (1, 2, '2020-01-01', 3)", "0 1 2 3", "s"},
        {"INSERT INTO codes VALUES (1, 2, '2020-01-01')",
         "0:INSERT INTO codes VALUES (1, 2, '2020-01-01')" GIVEN_TO_ALL("codes", "codes", ""), "s"},
        {" /* c */ INSERT INTO codes AS returning_ (code) VALUES (1), (2) ON CONFLICT DO NOTHING RETURNING n AS x -- "
         "d",
         "0: /* c */ INSERT INTO codes AS returning_ (code) VALUES (1), (2) ON CONFLICT DO NOTHING" GIVEN_TO_ALL(
             "returning_", "codes\" AS \"returning_", " RETURNING n AS x"),
         "rs"},
        {"INSERT INTO codes (code) VALUES (1) ON CONFLICT (code) DO UPDATE SET price = 1", "refused", "ON CONFLICT"},
        {"INSERT INTO codes (code) VALUES ((SELECT max(rid) FROM ref))", "refused", "default of n"},
        {"INSERT INTO codes (code) SELECT code FROM codes", "refused", "more than the rows"},
        {"INSERT INTO codes (code) VALUES (1) RETURNING (SELECT max(n) FROM codes)", "refused", "more than the rows"},
        {"WITH x AS (SELECT 1) INSERT INTO codes (code) VALUES (1)", "refused", "more than the rows"},
        {"INSERT INTO codes (code, n) VALUES (1, 2)",
         "0:INSERT INTO codes (code, n) VALUES (1, 2)" GIVEN_TO_ALL("codes", "codes", ""), "s"},
        {"INSERT INTO codes (code, n, made) VALUES (1, 2, '2020-01-01')", "0 1 2 3", "s"},
        {"INSERT INTO codes (code, n, made) VALUES (1, DEFAULT, '2020-01-01');",
         "0:INSERT INTO codes (code, n, made) VALUES (1, DEFAULT, '2020-01-01')" GIVEN_TO_ALL("codes", "codes", ""),
         "s"},
        {"INSERT INTO codes (code, n, made) SELECT rid, 1, '2020-01-01' FROM ref", "0 1 2 3", "s"},
        {"INSERT INTO codes (code) SELECT rid FROM ref", "refused", "default of n"},
        {"DELETE FROM codes", "0 1 2 3", "s"},
        {"UPDATE codev SET price = 3", "0 1 2 3", "s"},
        {"UPDATE codev SET price = DEFAULT", "refused", "default of price"},
        {"UPDATE codes SET price = DEFAULT", "0 1 2 3", "s"},
        {"INSERT INTO codes OVERRIDING USER VALUE VALUES (1, 2, '2020-01-01', 3)", "refused", "sequence"},
        {"MERGE INTO ref USING codes c ON c.code = rid WHEN MATCHED THEN DELETE", "refused", "reference table"},
        {"WITH x AS (DELETE FROM ref RETURNING *) SELECT * FROM x", "refused", "reference table"},
        {"WITH x AS (DELETE FROM ref RETURNING *) DELETE FROM codes", "refused", "more than one table"},
        {"SELECT * FROM ref FOR UPDATE", "refused", "reference table"},
        {"INSERT INTO priced VALUES (1, 1), (2, 2)",
         "1:INSERT INTO priced VALUES (1, 1) 2:INSERT INTO priced VALUES (2, 2)", "d"},
        {"UPDATE priced SET made = DEFAULT", "0 1 2 3", "d"},
    };
    CHECK_ALL(rows);
}

static const char *numbers_of(const struct plan_write_part *part, char *to)
{
    *to = '\0';
    for (size_t i = 0; i < part->parameter_count; i++)
        sprintf(to + strlen(to), "%s%u", i ? " " : "", part->parameters[i]);
    return to;
}

static void a_part_has_its_own_parameters(void **state)
{
    (void)state;
    static const char text[] = "INSERT INTO t (id, v) VALUES ($1, $2), ($3, $4 + $2), ($5, $6) "
                               "ON CONFLICT (id) DO UPDATE SET v = $7 RETURNING $2 + v";
    static const struct plan_value values[] = {{"5", 1, 0, 0}, {"2", 1, 0, 0}, {"6", 1, 0, 0}, {"4", 1, 0, 0},
                                               {"9", 1, 0, 0}, {"6", 1, 0, 0}, {"7", 1, 0, 0}};
    struct arena arena = ARENA_INIT;
    struct facts facts;
    struct plan plan;
    char numbers[100];
    assert_string_equal(world_plan(&world, text, values, 7, &arena, &facts, &plan), "writes");
    const struct plan_write_part *first = plan.write->parts, *second = first + 1;
    assert_int_equal(plan.write->part_count, 2);
    assert_int_equal(first->shard, 1);
    assert_memory_equal(first->text,
                        "INSERT INTO t (id, v) VALUES ($1, $2), ($3, $4) "
                        "ON CONFLICT (id) DO UPDATE SET v = $5 RETURNING $2 + v",
                        first->size);
    assert_string_equal(numbers_of(first, numbers), "1 2 5 6 7");
    assert_int_equal(first->row_count, 2);
    assert_int_equal(first->rows[0], 0);
    assert_int_equal(first->rows[1], 2);
    assert_int_equal(second->shard, 2);
    assert_memory_equal(second->text,
                        "INSERT INTO t (id, v) VALUES ($1, $2 + $3) "
                        "ON CONFLICT (id) DO UPDATE SET v = $4 RETURNING $3 + v",
                        second->size);
    assert_string_equal(numbers_of(second, numbers), "3 4 2 7");
    assert_int_equal(second->rows[0], 1);
    assert_string_equal(plan.write->tag, "INSERT 0");
    arena_free(&arena);
}

/* ---- random rows ---- */

enum { TEXT_MOST = 1 << 16, ROWS_MOST = 40 };

static const char *any_of(struct random *random, const char *const *list, size_t count)
{
    return list[random_below(random, (uint32_t)count)];
}
#define ANY(random, ...) \
    any_of(random, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* What the lexer passes over. */
static const char *blank(struct random *random)
{
    return ANY(random, "", "", " ", "\n", " /* (1), '\" /* , */ */ ", " -- (a), '\n", "\t");
}

static const char *expression(struct random *random)
{
    return ANY(random, "1", "'a'", "'),('", "E'\\'),('", "$$), ($$", "$a$ $$ ) $a$", "x'0f'", "1e-5", ".5", "-1", "(1)",
               "((2, 3))", "pure((1), '(')", "ARRAY[1, 2]", "ARRAY[[1,2],[3,4]][1][2]",
               "CASE WHEN true THEN 1 ELSE 2 END", "pure(pure(pure(1),3),4)", "(SELECT 1, ')')", "$1 + $2", "NULL",
               "DEFAULT", "b'1'", "N'a,'", "'it''s'", "1 /* ) */", "CAST('1' AS numeric(10, 2))", "interval '1 day'",
               "\"lower\"(')')", "a -> ','");
}

struct model_row {
    size_t start, end;
    unsigned key;
};

static size_t build(struct random *random, char *text, struct model_row *rows, size_t *count)
{
    size_t at = (size_t)sprintf(text, "%sINSERT INTO %st%s%s%s%sVALUES%s", blank(random), blank(random), blank(random),
                                ANY(random, "", " AS x ", " AS \"values\""),
                                ANY(random, "(id, v, name)", " (id,v,name)", "(\"id\",v,name /* ) */)"),
                                ANY(random, "", " OVERRIDING SYSTEM VALUE "), blank(random));
    *count = 1 + random_below(random, ROWS_MOST - 1);
    for (size_t i = 0; i < *count; i++) {
        at += (size_t)sprintf(text + at, "%s%s%s", blank(random), i ? "," : "", blank(random));
        rows[i].key = random_below(random, 1000);
        rows[i].start = at;
        at += (size_t)sprintf(text + at, "(%s%u%s,%s%s%s,%s)", blank(random), rows[i].key, blank(random), blank(random),
                              expression(random), blank(random), expression(random));
        rows[i].end = at;
    }
    const char *tail = ANY(random, "", ";", " ON CONFLICT DO NOTHING",
                           " ON CONFLICT (id) DO UPDATE SET (v, name) = (1, ')')", " RETURNING (id), v, ','");
    return at + (size_t)sprintf(text + at, "%s%s", blank(random), tail);
}

/* The part's text by the model. */
static size_t model_part(const char *text, size_t size, const struct model_row *rows, size_t count, unsigned shard,
                         char *to)
{
    size_t at = rows[0].start;
    bool any = false;
    memcpy(to, text, at);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].key % 4 != shard)
            continue;
        at += (size_t)sprintf(to + at, "%s%.*s", any ? ", " : "", (int)(rows[i].end - rows[i].start),
                              text + rows[i].start);
        any = true;
    }
    memcpy(to + at, text + rows[count - 1].end, size - rows[count - 1].end);
    return at + size - rows[count - 1].end;
}

/* The words' rows are the parser's, or the write is not taken. */
static void any_text_is_split_where_the_parser_has_its_rows(void **state)
{
    (void)state;
    static char text[TEXT_MOST], wanted[TEXT_MOST];
    struct model_row rows[ROWS_MOST];
    struct random random = random_start();
    size_t split = 0, unlike = 0, tries = 3000;
    for (size_t i = 0; i < tries; i++) {
        struct arena arena = ARENA_INIT;
        struct facts facts;
        struct plan plan;
        size_t count, size = build(&random, text, rows, &count);
        const char *got = world_plan(&world, text, NULL, 0, &arena, &facts, &plan);
        unlike += facts.write_cannot && strstr(facts.write_cannot, "words") != NULL;
        for (size_t p = 0; strcmp(got, "writes") == 0 && p < plan.write->part_count; p++) {
            const struct plan_write_part *part = &plan.write->parts[p];
            size_t length = model_part(text, size, rows, count, part->shard, wanted);
            if (length != part->size || memcmp(wanted, part->text, length) != 0) {
                fprintf(stderr, "%s\n    expected %.*s\n    got      %.*s\n", text, (int)length, wanted,
                        (int)part->size, part->text);
                fail();
            }
            split++;
        }
        arena_free(&arena);
    }
    printf("%zu texts, %zu parts\n", tries, split);
    assert_int_equal(unlike, 0);
    assert_true(split > tries / 2);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "INSERT INTO t (id, v) VALUES ($1, 1), (2, $2), (3, $2)",
        "UPDATE t SET v = u.w FROM u WHERE u.tid = t.id AND t.id IN (1, 2)",
        "INSERT INTO u (tid, uid) SELECT id, v FROM t RETURNING *",
        "INSERT INTO codes (code, n) VALUES (1, 2)",
    };
    static const struct plan_value values[] = {{"5", 1, 0, 0}, {"2", 1, 0, 0}};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        long failed = 0;
        mosaic_error error;
        for (mosaic_status status = MOSAIC_MEMORY; status != MOSAIC_OK; failed++) {
            struct arena arena = ARENA_INIT;
            struct scan scan = SCAN_INIT;
            struct facts_list list;
            struct plan plan = {.kind = PLAN_REFUSED};
            assert_true(scan_text(&scan, texts[t], strlen(texts[t])));
            struct plan_input input = {&world.schema,
                                       world_literals(&scan, texts[t], &world.arena),
                                       scan.count,
                                       values,
                                       2,
                                       .has_writes = true,
                                       .text = texts[t],
                                       .size = strlen(texts[t])};
            memory_fail_after(failed);
            status = facts_find_scanned(&world.context, texts[t], strlen(texts[t]), &scan, &arena, &list, &error);
            if (status == MOSAIC_OK)
                status = plan_make(list.facts, &input, &arena, &plan, &error);
            memory_fail_after(-1);
            assert_true(status == MOSAIC_MEMORY || (status == MOSAIC_OK && plan.kind == PLAN_WRITE));
            scan_free(&scan);
            arena_free(&arena);
        }
        assert_true(failed > 2);
    }
}

static void rows_of_copy_are_dealt_out(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"COPY t FROM STDIN", "0 1 2 3"},
        {"COPY t (v, id) FROM STDIN (FORMAT csv, HEADER match, DELIMITER ';')", "0 1 2 3"},
        {"COPY t FROM STDIN WITH CSV HEADER QUOTE ''''", "0 1 2 3"},
        {"COPY BINARY t FROM STDIN", "0 1 2 3"},
        {"COPY ref FROM STDIN", "0 1 2 3", "s"},
        {"COPY t FROM STDIN WHERE v > 3", "0 1 2 3"},
        {"COPY t FROM STDIN WHERE now() > '2020-01-01'", "0 1 2 3", "c"},
        {"COPY t FROM STDIN WHERE v > random()", "refused", "volatile"},
        {"COPY t (v) FROM STDIN", "refused", "without its key"},
        {"COPY t FROM '/tmp/x'", "refused", "FROM STDIN"},
        {"COPY t FROM PROGRAM 'x'", "refused", "FROM STDIN"},
        {"COPY t FROM STDIN (ENCODING 'UTF8', FREEZE)", "0 1 2 3"},
        {"COPY t FROM STDIN (ENCODING 'latin1')", "refused", "UTF8"},
        {"COPY t FROM STDIN (FORMAT csv, FORCE_NULL (v))", "0 1 2 3"},
        {"COPY t FROM STDIN (FORMAT csv, FORCE_NULL (v, id))", "refused", "of its key"},
        {"COPY t FROM STDIN (FORMAT csv, FORCE_NOT_NULL (id))", "refused", "of its key"},
        {"COPY t FROM STDIN (ON_ERROR ignore)", "refused", "not known here"},
        {"COPY t FROM STDIN (FORMAT xml)", "refused", "not known"},
        {"COPY t FROM STDIN (DELIMITER 'ab')", "refused", "one byte"},
        {"COPY t FROM STDIN (FORMAT csv, DELIMITER '\"')", "refused", "fit together"},
    };
    CHECK_ALL(rows);
}

static void without_leave_they_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"UPDATE t SET v = 1", "refused", "no condition id"},
        {"DELETE FROM t WHERE id IN (1, 2)", "refused", "more than one shard"},
        {"COPY t FROM STDIN", "refused", "pgmosaic load"},
    };
    world.has_writes = false;
    CHECK_ALL(rows);
    world.has_writes = true;
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world);
    world.has_writes = true;
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_owner_changes_its_own_rows),
        cmocka_unit_test(every_owner_merges_what_is_tied_to_its_keys),
        cmocka_unit_test(one_row_is_picked_and_locked),
        cmocka_unit_test(rows_of_a_key_that_changes_move),
        cmocka_unit_test(a_change_of_the_schema_is_where_the_tables_are),
        cmocka_unit_test(what_could_not_hold_is_refused),
        cmocka_unit_test(rows_go_to_their_shards),
        cmocka_unit_test(a_query_s_rows_stay_where_they_are),
        cmocka_unit_test(copies_stay_equal),
        cmocka_unit_test(a_part_has_its_own_parameters),
        cmocka_unit_test(any_text_is_split_where_the_parser_has_its_rows),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(rows_of_copy_are_dealt_out),
        cmocka_unit_test(without_leave_they_are_refused),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
