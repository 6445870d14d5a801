/*
 * A session in the database `pgmosaic` as the protocol sees it: simple queries, and the extended protocol as drivers
 * use it. It reads messages and writes answers; what a command does is its caller's.
 *
 *     switch (admin_session_take(&session, message, &frame, &out))
 *     case ADMIN_RUN:                      the command is session.run; more messages wait until it has ended
 *         table = admin_session_table(&session, &out);       for a command that has rows
 *         admin_session_end(&session, &out, status, &error);
 */
#ifndef MOSAIC_PROXY_ADMIN_SESSION_H
#define MOSAIC_PROXY_ADMIN_SESSION_H

#include "proxy/admin_columns.h"

enum { ADMIN_STATEMENTS_MOST = 64, ADMIN_TEXT_MOST = 8192 };

struct admin_statement {
    struct admin_statement *next;
    struct arena arena;
    struct admin_read read;
    char name[64];
};

struct admin_session {
    bool changes;  /* the user is in admin_users: he may do more than SHOW */
    bool skips;    /* an error in the extended protocol: nothing until Sync */
    bool extended; /* the command that runs came by Execute */
    bool running, in_transaction, has_portal;
    struct arena arena;    /* of the command that runs, and of the portal */
    struct admin_read run; /* of a simple query, or the portal's */
    char portal[64];
    const char *formats; /* of the portal's results, in the arena */
    uint16_t format_count;
    struct admin_statement *statements;
    size_t statement_count;
};

enum admin_step {
    ADMIN_ANSWERED, /* all that there is to say is in `out` */
    ADMIN_RUN,
    ADMIN_CLOSE, /* Terminate, or what no client sends: close, after sending `out` */
};

enum admin_step admin_session_take(struct admin_session *session, const char *message, const struct wire_frame *frame,
                                   struct buffer *out);
/* Of a command that has rows: describes them where the protocol wants it. */
struct admin_table admin_session_table(struct admin_session *session, struct buffer *out);
void admin_session_end(struct admin_session *session, struct buffer *out, mosaic_status status,
                       const mosaic_error *error);
void admin_session_free(struct admin_session *session);

#endif
