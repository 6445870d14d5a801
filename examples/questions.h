/*
 * The same questions, asked of clusters of any engine by the same calls of the library; their answers must be equal.
 */
#ifndef QUESTIONS_H
#define QUESTIONS_H

#include "story.h"

enum { QUESTIONS = 4, PLACES_MOST = 3 };

/* Where questions are asked. */
struct place {
    const char *name; /* heading of its column */
    mosaic_cluster *cluster;
    double seconds[QUESTIONS]; /* the best of a few times */
    char answers[QUESTIONS][512];
};

/* Opens the cluster of a config; ends the program if it cannot. */
mosaic_cluster *questions_open(const char *config);
/* Orders of all users: two each, of amounts that follow from the id. Replaces what is there. Each shard makes those of
 * its own users. */
void questions_make_orders(mosaic_cluster *cluster);
/* Asks all of them, and prints a table of the times. Ends the program where two places answer differently. */
void questions_compare(struct place *places, size_t count);

#endif
