#include "proxy/tally.h"

bool tally_coordinator(struct client *client, const struct route *route)
{
    const mosaic_error *warning = route->warning;
    if (!warning)
        return true;
    record_client(client, EVENT_SCATTER, warning);
    wire_warning(client_answer(client), warning->sqlstate, warning->message, warning->detail, warning->hint);
    return client_answered(client);
}
