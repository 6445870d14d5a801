/*
 * What to do about failures that Citus reports without a hint of its own. Pure; by Citus's own words (13.2), since one
 * SQLSTATE stands for many causes. In another language nothing is found, and the message stands alone.
 */
#ifndef MOSAIC_PQ_ADVICE_H
#define MOSAIC_PQ_ADVICE_H

/* A hint for the server's message; NULL when it is not known to be Citus's. Static storage. */
const char *pq_advice(const char *sqlstate, const char *message);

#endif
