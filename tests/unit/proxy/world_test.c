#include "proxy/world.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PORT = 6543 };

/* The targets of two shards at this host; to be given to forget. */
static void find(struct world *world, struct shard shards[2], const char *conninfo)
{
    mosaic_error error;
    shards[0] = (struct shard){.name = "s0", .conninfo = "host=/tmp port=6543"};
    shards[1] = (struct shard){.name = "s1", .conninfo = conninfo};
    *world = (struct world){.model = {.shards = shards, .shard_count = 2}};
    assert_int_equal(world_targets(world, &error), MOSAIC_OK);
}

static void forget(struct world *world)
{
    for (size_t i = 0; i < world->model.shard_count; i++)
        tls_context_free(world->targets[i].tls);
    arena_free(&world->arena);
}

static void a_name_that_means_another_address(void **state)
{
    (void)state;
    struct world world;
    struct shard shards[2];
    find(&world, shards, "host=localhost port=6543 sslmode=disable");
    struct target *target = &world.targets[1];
    assert_true(target->has_names && target->endpoint_count > 0);
    assert_false(world_has_moved(&world));
    /* As if it had meant that one before, alone. */
    target->endpoint_count = 1;
    target->endpoints[0].address.ss_family = AF_INET;
    ((struct sockaddr_in *)(void *)&target->endpoints[0].address)->sin_port = htons(PORT + 1);
    assert_true(world_has_moved(&world));
    /* Or nothing, when it was looked for. */
    target->endpoint_count = 0;
    assert_true(world_has_moved(&world));
    forget(&world);
}

static void a_name_that_is_not_found_has_not_moved(void **state)
{
    (void)state;
    struct world world;
    struct shard shards[2];
    find(&world, shards, "host=127.0.0.1 port=6543 sslmode=disable");
    assert_false(world.targets[0].has_names || world.targets[1].has_names);
    assert_false(world_has_moved(&world));
    shards[1].conninfo = "host=no..where port=6543 sslmode=disable";
    assert_false(world_has_moved(&world));
    forget(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_that_means_another_address),
                                       cmocka_unit_test(a_name_that_is_not_found_has_not_moved)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
