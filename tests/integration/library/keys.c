/* keys CONFIG: rows by keys of every kind arrive where mosaic_locate says, and are found there again. */
#include "check.h"

static mosaic_cluster *cluster;

static void round_trip(const char *table, mosaic_key key, const char *insert, const char *select, int count,
                       const char *const *values, const int *lengths, const int *formats)
{
    mosaic_error error;
    mosaic_place place;
    PGresult *result;
    PGconn *connection;
    mosaic_statement put = {.sql = insert, .count = count, .values = values, .lengths = lengths, .formats = formats};
    mosaic_statement get = {.sql = select, .count = count, .values = values, .lengths = lengths, .formats = formats};
    EXPECT(MOSAIC_OK, mosaic_locate(cluster, table, key, &place, &error));
    CHECK(place.shard < mosaic_shard_count(cluster));
    EXPECT(MOSAIC_OK, mosaic_exec(cluster, table, key, &put, 5000, &result, &error));
    CHECK(strcmp(PQcmdTuples(result), "1") == 0);
    PQclear(result);
    EXPECT(MOSAIC_OK, mosaic_exec(cluster, table, key, &get, 5000, &result, &error));
    CHECK(PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "found") == 0);
    PQclear(result);
    /* On the shard that was named, and on no other. */
    for (size_t shard = 0; shard < mosaic_shard_count(cluster); shard++) {
        EXPECT(MOSAIC_OK, mosaic_exec_shard(cluster, shard, &get, 5000, &result, &error));
        CHECK(PQntuples(result) == (shard == place.shard));
        PQclear(result);
    }
    EXPECT(MOSAIC_OK, mosaic_acquire_key(cluster, table, key, 5000, &connection, &error));
    result = PQexecParams(connection, select, count, NULL, values, lengths, formats, 0);
    CHECK(PQntuples(result) == 1);
    PQclear(result);
    mosaic_release(cluster, connection);
}

static void refused(mosaic_status status, const char *table, mosaic_key key, const char *says)
{
    mosaic_error error;
    mosaic_place place;
    EXPECT(status, mosaic_locate(cluster, table, key, &place, &error));
    CHECK(error.status == status);
    if (!strstr(error.message, says)) {
        fprintf(stderr, "message \"%s\" does not say \"%s\"\n", error.message, says);
        exit(1);
    }
    CHECK(mosaic_locate(cluster, table, key, &place, NULL) == status);
}

int main(int count, char **words)
{
    CHECK(count == 2);
    cluster = open_cluster(words[1], NULL);
    CHECK(mosaic_shard_count(cluster) == 3 && mosaic_epoch(cluster) > 0);
    CHECK(strcmp(mosaic_shard_name(cluster, 0), "s0") == 0 && !mosaic_shard_name(cluster, 3));
    CHECK(strstr(mosaic_shard_conninfo(cluster, 1), "port=") && !mosaic_shard_conninfo(cluster, 3));

    for (long long id = -5; id < 5; id++) {
        char text[32];
        snprintf(text, sizeof text, "%lld", id);
        round_trip("users", mosaic_key_int64(id), "INSERT INTO users VALUES ($1, 'found')",
                   "SELECT name FROM users WHERE id = $1", 1, (const char *[]){text}, NULL, NULL);
    }
    for (int i = 0; i < 6; i++) {
        char text[64];
        snprintf(text, sizeof text, "@user%d:matrix.org", i);
        round_trip("public.members", mosaic_key_text(text), "INSERT INTO members VALUES ($1, 'found')",
                   "SELECT note FROM members WHERE user_id = $1", 1, (const char *[]){text}, NULL, NULL);
        unsigned char uuid[16] = {0x10, (unsigned char)i, 0xff, [15] = 7};
        round_trip("docs", mosaic_key_uuid(uuid), "INSERT INTO docs VALUES ($1, 'found')",
                   "SELECT note FROM docs WHERE id = $1", 1, (const char *[]){(const char *)uuid}, (int[]){16},
                   (int[]){1});
        unsigned char bytes[5] = {0, (unsigned char)i, 0, 255, '\\'};
        round_trip("blobs", mosaic_key_bytes(bytes, 5), "INSERT INTO blobs VALUES ($1, 'found')",
                   "SELECT note FROM blobs WHERE id = $1", 1, (const char *[]){(const char *)bytes}, (int[]){5},
                   (int[]){1});
        char number[12];
        snprintf(number, sizeof number, "%d", i);
        mosaic_key parts[] = {mosaic_key_int64(i), mosaic_key_text(text)};
        round_trip("pairs", mosaic_key_composite(parts, 2), "INSERT INTO pairs VALUES ($1, $2, 'found')",
                   "SELECT note FROM pairs WHERE a = $1 AND b = $2", 2, (const char *[]){number, text}, NULL, NULL);
    }

    refused(MOSAIC_NOT_FOUND, "nowhere", mosaic_key_int64(1), "nowhere");
    refused(MOSAIC_USAGE, "countries", mosaic_key_int64(1), "countries");
    refused(MOSAIC_KEY, "users", mosaic_key_text("abc"), "users");
    refused(MOSAIC_KEY, "users", mosaic_key_text("9223372036854775808"), "users");
    refused(MOSAIC_KEY, "users", mosaic_key_text(NULL), "users");
    refused(MOSAIC_KEY, "members", mosaic_key_text("\xff\xfe"), "members");
    refused(MOSAIC_KEY, "pairs", mosaic_key_int64(1), "pairs");
    refused(MOSAIC_KEY, "docs", mosaic_key_int64(1), "docs");
    refused(MOSAIC_USAGE, NULL, mosaic_key_int64(1), "table");
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
