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

bool totals_tier_knows(unsigned tier, enum tier_counter counter)
{
    if (tier == 0)
        return counter == TIER_COUNT_statements;
    return !(tier == 1 && counter == TIER_COUNT_rows) && !(tier == 4 && counter == TIER_COUNT_shards);
}

const char *totals_tier_name(unsigned tier)
{
    static const char *const names[TIER_MOST + 1] = {"refused", "1", "2", "3", "4"};
    return names[tier];
}
