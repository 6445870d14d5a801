/*
 * What stands behind a statement that changes what names mean (the search_path, the role by which "$user" stands, the
 * schema), before a server has said what they mean now.
 */
#ifndef MOSAIC_SQL_BEHIND_H
#define MOSAIC_SQL_BEHIND_H

#include "sql/facts.h"

/* SET or RESET of a hint, which says where statements go. */
bool behind_is_hint(const struct facts *facts);
/* Behind this statement, may a name be another one's than before, or a statement go elsewhere? */
bool behind_means_else(const struct facts *facts);
/* Is a word in the text the name of anything in any schema but of a home table? Then it may come to be that one's. */
bool behind_names_others(const struct schema *schema, const char *text, size_t size);

#endif
