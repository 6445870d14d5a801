/*
 * The settings of a session by which a value is read, shown or found: a row has one meaning as long as they are the
 * same on every shard.
 */
#ifndef MOSAIC_CATALOG_SESSION_SETTINGS_H
#define MOSAIC_CATALOG_SESSION_SETTINGS_H

/* X(name, as pg_settings has it) */
#define SESSION_SETTING_LIST(X)    \
    X(TimeZone)                    \
    X(DateStyle)                   \
    X(IntervalStyle)               \
    X(timezone_abbreviations)      \
    X(search_path)                 \
    X(lc_time)                     \
    X(lc_monetary)                 \
    X(lc_numeric)                  \
    X(default_text_search_config)  \
    X(extra_float_digits)          \
    X(bytea_output)                \
    X(xmlbinary)                   \
    X(xmloption)                   \
    X(array_nulls)                 \
    X(transform_null_equals)       \
    X(standard_conforming_strings) \
    X(quote_all_identifiers)       \
    X(row_security)                \
    X(session_replication_role)    \
    X(default_transaction_isolation)

#endif
