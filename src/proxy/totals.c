#include "proxy/totals.h"

int64_t totals_rate(const struct totals *totals, size_t shard, enum shard_counter counter)
{
    if (totals->period_us <= 0)
        return 0;
    return (int64_t)((double)totals->grown[shard].counts[counter] * 1e6 / (double)totals->period_us);
}

int64_t totals_mean(const struct totals *totals, size_t shard, enum shard_counter sum, enum shard_counter count)
{
    if (totals->period_us <= 0 || !totals->grown[shard].counts[count])
        return 0;
    return (int64_t)(totals->grown[shard].counts[sum] / totals->grown[shard].counts[count]);
}
