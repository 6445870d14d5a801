"""The expressions that the generator makes of each type: {type} is an expression, {=type} a constant, {?type} one
without a cast, {row} a row of something in FROM.

None raises an error for some rows only, none depends on the order of rows, and none makes its numbers grow without end.
"""

TEMPLATES = {
    "int": """
        {int} + {=int} | {int} - {=int} | ({int}) % 7 | abs({int}) | -({int}) | ({int}) / 3 | length({text}) | octet_length({text})
        coalesce({int}, {int}) | nullif({int}, {=int}) | greatest({int}, {int}) | least({int}, {int}, {=int}) | sign({int})::int
        CASE WHEN {boolean} THEN {int} ELSE {int} END | CASE {int} WHEN {=int} THEN {int} WHEN {=int} THEN {=int} END
        CASE {mood} WHEN 'sad' THEN 1 WHEN 'ok' THEN {int} END | ({date} - {=date}) | extract(year FROM {date})::int
        extract(dow FROM {timestamptz})::int | cardinality({int[]}) | array_length({text[]}, 1) | array_position({int[]}, {=int})
        ({int[]})[1] | ({int[]})[2] | strpos({text}, {=text}) | ({jsonb} ->> 'n')::int | jsonb_array_length({jsonb} -> 'a')
        ({int}) & 6 | ({int}) # 3 | ascii({text}) | (({boolean})::int) | round({numeric})::int
        width_bucket({numeric}, 0, 100, 5) | length({bytea}) | position({=text} IN {text}) | num_nonnulls({int}, {text}, {date})
        mod({int}, 5) | floor({numeric})::int | char_length({text}) | (1 + {int}) * 2 % 100 | ({int})::smallint % 10
        date_part('day', {date})::int | bit_length({text}) | gcd({int}, 6) | get_byte('\\x010203'::bytea, abs({int}) % 3)
    """,
    "bigint": """
        {bigint} + {int} | {bigint} - {=bigint} | ({bigint}) % 11 | abs({bigint}) | coalesce({bigint}, {int}) | ({int})::bigint * 3
        CASE WHEN {boolean} THEN {bigint} ELSE {int} END | nullif({bigint}, {=bigint}) | greatest({bigint}, {=bigint})
        (hashtext({text}) % 10)::bigint | extract(epoch FROM {date})::bigint / 86400 | ({bigint}) / 2 | mod({bigint}, 9)
        hashint8({bigint}) % 100
    """,
    "numeric": """
        {numeric} + {numeric} | {numeric} - {=numeric} | {numeric} * 2 | ({numeric}) / 4 | round({numeric}, 1) | trunc({numeric})
        abs({numeric}) | coalesce({numeric}, 0) | ({int})::numeric | CASE WHEN {boolean} THEN {numeric} END | sign({numeric})
        ({numeric}) % 3 | ceil({numeric}) | greatest({numeric}, {numeric}) | div({numeric}, 2) | extract(hour FROM {timestamptz})
        ({jsonb} -> 'n')::numeric | nullif({numeric}, {=numeric}) | scale(round({numeric}, 2))::numeric
    """,
    "float8": """
        {float8} + {float8} | {float8} * 0.5 | -({float8}) | abs({float8}) | coalesce({float8}, 0) | ({int})::float8 / 4
        CASE WHEN {boolean} THEN {float8} ELSE {float8} END | nullif({float8}, {=float8}) | greatest({float8}, {float8})
        floor({float8}) | ({int})::float8 | sqrt(abs({int})) | sign({float8}) | trunc({float8})
    """,
    "text": """
        {text} || {text} | {text} || {=text} | lower({text}) | upper({text}) | left({text}, 2) | right({text}, 1)
        substr({text}, 1, 2) | substring({text} FROM 2) | replace({text}, 'a', 'x') | trim({text}) | lpad({text}, 4, '*')
        reverse({text}) | md5({text}) | coalesce({text}, {=text}) | ({int})::text | ({mood})::text | ({uuid})::text
        ({date})::text | ({jsonb} ->> 't') | CASE WHEN {boolean} THEN {text} ELSE {text} END | nullif({text}, {=text})
        greatest({text}, {text}) | least({text}, {=text}) | concat({text}, {int}) | concat_ws('-', {text}, {mood}, {int})
        format('%s/%s', {int}, {text}) | initcap({text}) | repeat({text}, 2) | to_char({date}, 'YYYY-MM-DD')
        split_part({text}, 'a', 1) | translate({text}, 'ab', 'ba') | array_to_string({text[]}, ',') | ({text[]})[1]
        encode({bytea}, 'hex') | ({boolean})::text | quote_literal({text}) | rtrim({text}) | ltrim({text})
        overlay({text} PLACING 'z' FROM 1 FOR 1) | regexp_replace({text}, '[aeiou]', '#') | jsonb_typeof({jsonb})
        to_char({timestamptz} AT TIME ZONE 'UTC', 'HH24:MI') | to_char({int}, '0009') | ({timestamptz})::text
        btrim({text}, 'a') | starts_with({text}, 'a')::text | string_to_array({text}, 'a')::text | (ROW({int}, {text}))::text
        ({row})::text
    """,
    "boolean": """
        {int} = {int} | {int} < {=int} | {int} >= {int} | {int} <> {=int} | {bigint} = {bigint} | {bigint} > {=bigint}
        {numeric} < {numeric} | {numeric} = {=numeric} | {float8} > {=float8} | {float8} = {float8} | {text} = {text}
        {text} < {=text} | {text} >= {text} | {text} LIKE 'a%' | {text} ILIKE '%A%' | {text} ~ '^[a-b]' | {text} NOT LIKE '%b'
        {text} SIMILAR TO '(a|b)%' | {text} IN ('a', 'B', {=text}) | {text} COLLATE "C" < {=text} | {date} < {=date}
        {date} BETWEEN {=date} AND {=date} | {timestamptz} >= {=timestamptz} | {timestamptz} = {timestamptz}
        {uuid} = {=uuid} | {uuid} < {uuid} | {bytea} < {=bytea} | {bytea} = {bytea} | {mood} = {=mood} | {mood} > {=mood}
        {mood} <= {mood} | {boolean} AND {boolean} | {boolean} OR {boolean} | NOT {boolean} | ({int}) IS NULL
        ({text}) IS NOT NULL | ({boolean}) IS TRUE | ({boolean}) IS NOT FALSE | ({boolean}) IS UNKNOWN
        {int} IS DISTINCT FROM {int} | {text} IS NOT DISTINCT FROM {text} | {int} BETWEEN {=int} AND {int}
        {int} BETWEEN SYMMETRIC {int} AND {=int} | {int} IN ({=int}, {=int}, {=int}) | {int} NOT IN ({=int}, {=int})
        {int} = ANY ({int[]}) | {text} <> ALL ({text[]}) | {int[]} && {=int[]} | {int[]} @> {=int[]} | {text[]} = {text[]}
        {jsonb} @> {=jsonb} | {jsonb} ? 'n' | {jsonb} = {jsonb} | {jsonb} ->> 't' = {text} | ({int}, {text}) = ({int}, {text})
        ({int}, {text}) < ({=int}, {=text}) | CASE WHEN {boolean} THEN {boolean} ELSE {boolean} END
        coalesce({boolean}, false) | starts_with({text}, 'a') | ({date}, {date}) OVERLAPS ({=date}, {=date})
        {interval} > interval '1 day' | ({int}, {int}) IN (({=int}, {=int}), ({=int}, {=int})) | {bytea} IS NULL
        {mood} IN ('sad', 'happy') | {mood} = ANY ({mood[]}) | {text} = '' | {int} = '3' | ROW({int}, {text}) IS NOT NULL
        {int} = {?int} | {bigint} = {?bigint} | {text} = {?text} | {text} > {?text} | {date} <= {?date} | {mood} = {?mood}
        {mood} < {?mood} | {uuid} = {?uuid} | {bytea} = {?bytea} | {timestamptz} > {?timestamptz} | {numeric} >= {?numeric}
        {int} IN ({?int}, {?int}) | {jsonb} @> {?jsonb} | {int[]} && {?int[]} | {mood[]} = {?mood[]} | {float8} < {?float8}
        {row} IS NULL | {row} IS NOT NULL | {date} < current_date | {text} BETWEEN {?text} AND {?text}
        {jsonb} ->> 'n' IS NULL | {text} !~ 'b' | {int[]} < {int[]} | {float8} <> {=float8} | jsonb_path_exists({jsonb}, '$.n')
    """,
    "date": """
        {date} + 1 | {date} - {=int} | coalesce({date}, {=date}) | CASE WHEN {boolean} THEN {date} END
        ({timestamptz} AT TIME ZONE 'UTC')::date | greatest({date}, {=date}) | nullif({date}, {=date})
        make_date(2024, 1 + abs({int}) % 12, 5) | date_trunc('month', {date}::timestamp)::date
    """,
    "timestamptz": """
        {timestamptz} + interval '1 hour' | coalesce({timestamptz}, {=timestamptz}) | date_trunc('day', {timestamptz}, 'UTC')
        CASE WHEN {boolean} THEN {timestamptz} END | ({date}::timestamp AT TIME ZONE 'UTC') | least({timestamptz}, {timestamptz})
        to_timestamp(abs({int}) * 3600)
    """,
    "interval": """
        {timestamptz} - {timestamptz} | make_interval(days => abs({int}) % 40) | age({=date}::timestamp, {date}::timestamp)
        interval '1 day' * ({int}) | justify_hours({timestamptz} - {=timestamptz})
    """,
    "uuid": """ coalesce({uuid}, {=uuid}) | CASE WHEN {boolean} THEN {uuid} ELSE {=uuid} END | md5({text})::uuid """,
    "bytea": """ {bytea} || {=bytea} | substring({bytea} FROM 1 FOR 1) | convert_to({text}, 'UTF8') | coalesce({bytea}, {=bytea})
        sha256({bytea}) | decode(md5({text}), 'hex') """,
    "jsonb": """
        {jsonb} -> 'a' | jsonb_build_object('k', {int}, 't', {text}) | to_jsonb({text}) | to_jsonb({int})
        {jsonb} || {=jsonb} | coalesce({jsonb}, {=jsonb}) | jsonb_build_array({int}, {boolean}, {text}) | to_jsonb({int[]})
        to_jsonb({row}) -> 'x' | {jsonb} #> '{o,k}' | jsonb_strip_nulls({jsonb}) | jsonb_path_query_array({jsonb}, '$.a[*]')
    """,
    "mood": """ coalesce({mood}, {=mood}) | CASE WHEN {boolean} THEN {mood} ELSE 'ok' END | greatest({mood}, {=mood})
        ({mood[]})[1] | nullif({mood}, {=mood}) | enum_first({mood}) """,
    "int[]": """ {int[]} || {=int} | ARRAY[{int}, {=int}] | coalesce({int[]}, {=int[]}) | array_remove({int[]}, {=int})
        array_cat({int[]}, {=int[]}) | ({int[]})[1:1] | array_append({int[]}, {int}) """,
    "text[]": """ {text[]} || {=text} | ARRAY[{text}, {text}] | string_to_array({text}, 'a') | array_replace({text[]}, 'a', 'b')
        regexp_split_to_array({text}, 'a') """,
    "mood[]": """ ARRAY[{mood}, {=mood}] | {mood[]} || {=mood} | array_remove({mood[]}, {=mood}) """,
}

# Aggregates whose answer does not depend on the order of rows: result, text, does FILTER fit.
AGGREGATES = [
    ("bigint", "count(*)"), ("bigint", "count({int})"), ("bigint", "count({row})"),
    ("bigint", "count(DISTINCT {text})"), ("bigint", "count(DISTINCT {int})"),
    ("bigint", "sum({int})"), ("numeric", "sum({bigint})"), ("numeric", "sum({numeric})"), ("numeric", "avg({int})"),
    ("numeric", "avg({numeric})"), ("int", "min({int})"), ("int", "max({int})"), ("text", "min({text})"), ("text", "max({text})"),
    ("date", "min({date})"), ("timestamptz", "max({timestamptz})"), ("mood", "max({mood})"), ("boolean", "bool_and({boolean})"),
    ("boolean", "bool_or({boolean})"), ("boolean", "every({boolean})"), ("int", "bit_or({int})"), ("int", "bit_and({int})"),
    ("int", "bit_xor({int})"), ("numeric", "sum(DISTINCT {numeric})"), ("int[]", "array_agg({int} ORDER BY {.})"),
    ("text", "string_agg({text}, ',' ORDER BY {.})"), ("text", "string_agg(DISTINCT {text}, ',' ORDER BY {.} DESC)"),
    ("jsonb", "jsonb_agg({int} ORDER BY {.})"), ("numeric", "var_pop({int})"), ("numeric", "stddev_samp({int})"),
    ("int", "percentile_disc(0.5) WITHIN GROUP (ORDER BY {int})"), ("text", "mode() WITHIN GROUP (ORDER BY {text})"),
    ("text[]", "array_agg(DISTINCT {text})"), ("bigint", "count({mood}) + count(*)"), ("int", "coalesce(max({int}), 0)"),
    ("numeric", "round(avg({int}), 2)"), ("numeric", "sum({int}) / nullif(count({int}), 0)::numeric"),
    ("bigint", "rank({=int}) WITHIN GROUP (ORDER BY {int})"), ("mood[]", "array_agg({mood} ORDER BY {.})"),
    ("numeric", "max({numeric}) - min({numeric})"), ("interval", "max({timestamptz}) - min({timestamptz})"),
]
# Sums of floats differ in the last digits, so nothing is made of them: only where a whole column shows them.
FLOAT_AGGREGATES = ["sum({float8})", "avg({float8})", "stddev({float8})", "percentile_cont(0.5) WITHIN GROUP (ORDER BY {int})",
                    "min({float8})", "max({float8})", "regr_count({float8}, {float8})", "sum(DISTINCT {float8})"]
WINDOW_FUNCTIONS = [
    ("bigint", "row_number()"), ("bigint", "rank()"), ("bigint", "dense_rank()"), ("int", "ntile(3)"), ("int", "lag({int})"),
    ("int", "lead({int}, 2, {=int})"), ("text", "first_value({text})"), ("text", "last_value({text})"),
    ("int", "nth_value({int}, 2)"), ("bigint", "count(*)"), ("bigint", "sum({int})"), ("numeric", "sum({numeric})"),
    ("int", "max({int})"), ("text", "min({text})"), ("float8", "percent_rank()"), ("float8", "cume_dist()"),
    ("int[]", "array_agg({int})"), ("text", "string_agg({text}, '|')"), ("boolean", "bool_or({boolean})"),
    ("numeric", "avg({int})"), ("mood", "lag({mood})"),
]
FRAMES = ["", "", "", " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
          " GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING", " ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW",
          " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES"]
# Rows made of nothing but constants and what the left side has: alias's column and its type.
SET_FUNCTIONS = [
    ("generate_series(1, 3)", "int"), ("generate_series({=int}, {=int})", "int"), ("unnest({int[]})", "int"),
    ("unnest({text[]})", "text"), ("unnest(ARRAY['sad', 'happy']::mood[])", "mood"), ("jsonb_object_keys({=jsonb})", "text"),
    ("jsonb_array_elements_text('[\"a\", \"B\"]'::jsonb)", "text"), ("string_to_table({text}, 'a')", "text"),
    ("generate_series(date '2024-01-01'::timestamp, '2024-01-03', interval '1 day')", "timestamp"),
    ("generate_subscripts({int[]}, 1)", "int"), ("regexp_split_to_table({text}, 'b')", "text"),
]
# The same error whatever is evaluated first: what PostgreSQL finds before it looks at a row.
ERRORS = ["1 / 0", "'x'::int", "'2024-13-01'::date", "'cheerful'::mood", "no_such_column", "no_such_function(1)", "'a' + 1",
          "'{1,2'::int[]", "'not json'::jsonb", "99999999999::int", "(SELECT 1, 2)", "sum(sum(1))", "row_number()",
          "'a'::uuid", "1 = 'a'::text", "(SELECT v FROM (VALUES (1), (2)) o(v))"]
