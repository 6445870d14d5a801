#include "../random.h"
#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { STREAMS_MOST = 40, ROWS_MOST = 60 };

struct model {
    int rows[STREAMS_MOST][ROWS_MOST];
    size_t count[STREAMS_MOST], at[STREAMS_MOST];
};

static int compare(void *context, uint32_t one, uint32_t two)
{
    struct model *model = context;
    int a = model->rows[one][model->at[one]], b = model->rows[two][model->at[two]];
    return (a > b) - (a < b);
}

static int by_value(const void *one, const void *two)
{
    return *(const int *)one - *(const int *)two;
}

static void one_stream_comes_through(void **state)
{
    (void)state;
    uint32_t room[1];
    struct model model = {.rows = {{7, 8}}, .count = {2}};
    struct heap heap = {.streams = room, .compare = compare, .context = &model};
    heap_push(&heap, 0);
    assert_int_equal(heap.count, 1);
    assert_int_equal(heap_take(&heap), 0);
    assert_int_equal(heap.count, 0);
}

static void equal_rows_come_in_the_order_of_their_streams(void **state)
{
    (void)state;
    uint32_t room[5];
    struct model model = {0};
    struct heap heap = {.streams = room, .compare = compare, .context = &model};
    const uint32_t pushed[] = {3, 0, 4, 2, 1};
    for (int i = 0; i < 5; i++)
        heap_push(&heap, pushed[i]);
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(heap_take(&heap), i);
}

/* Merging sorted streams gives what sorting all their rows gives. */
static void merging_is_sorting(void **state)
{
    (void)state;
    struct random random = random_start();
    static struct model model;
    static int all[STREAMS_MOST * ROWS_MOST];
    for (int round = 0; round < 300; round++) {
        uint32_t room[STREAMS_MOST];
        size_t total = 0, streams = 1 + random_below(&random, STREAMS_MOST), got = 0;
        struct heap heap = {.streams = room, .compare = compare, .context = &model};
        memset(&model, 0, sizeof model);
        for (uint32_t i = 0; i < streams; i++) {
            model.count[i] = random_below(&random, ROWS_MOST);
            for (size_t j = 0; j < model.count[i]; j++)
                all[total++] = model.rows[i][j] = (int)random_below(&random, 50);
            qsort(model.rows[i], model.count[i], sizeof(int), by_value);
            if (model.count[i])
                heap_push(&heap, i);
        }
        qsort(all, total, sizeof(int), by_value);
        while (heap.count) {
            assert_true(heap_validate(&heap));
            uint32_t stream = heap.streams[0];
            assert_int_equal(model.rows[stream][model.at[stream]], all[got]);
            got++;
            bool more = ++model.at[stream] < model.count[stream], settles = random_below(&random, 2);
            if (more && settles)
                heap_settle(&heap);
            else
                assert_int_equal(heap_take(&heap), stream);
            if (more && !settles)
                heap_push(&heap, stream);
        }
        assert_int_equal(got, total);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_stream_comes_through),
        cmocka_unit_test(equal_rows_come_in_the_order_of_their_streams),
        cmocka_unit_test(merging_is_sorting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
