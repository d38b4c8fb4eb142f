/*
 * Places and seats, for all workers of this httpd together.
 *
 * A place is held from a request's body to its answer. Whoever comes when all are taken is turned
 * away before anything was done for him, so that those who have one are served soon, and so that
 * neither they nor a scep-ca that hangs hold all workers.
 *
 * A seat is held while there is work for the processor, and not while scep-ca is waited for. There
 * are about as many as cores; those without one sleep. A hundred threads that compute at one time
 * would each have a hundredth of the machine, and so would those that accept connections and turn
 * away: nobody would be answered soon. While few places are taken no seat is needed.
 */
#ifndef MOD_SCEP_PLACES_H
#define MOD_SCEP_PLACES_H

#include "mod_scep.h"

#include <pthread.h>
#include <stdatomic.h>

/* Places there are at the most: SCEPConcurrentMax ends here, too. */
#define SCEP_PLACES_MOST 4096
#define SCEP_SEATS_MOST 256

/* Another process writes here at any time: nothing but these types, which need no lock. */
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LONG_LOCK_FREE == 2,
               "atomic types with locks are of one process only");

/* Of all workers, and of httpd's parent, over restarts. */
struct scep_places {
    atomic_ulong turned_away;              /* since httpd was started */
    atomic_int holder[SCEP_PLACES_MOST];   /* its process; 0: free */
    atomic_uint came;                      /* to the seats */
    pthread_mutex_t seat[SCEP_SEATS_MOST]; /* robust: a process that dies leaves its seat */
};

/* A CALL waits for scep-ca without being a PKIOperation: it mints, or asks for news of an RA. It
 * may have some places more, so that it is answered while devices have all of theirs. */
typedef enum scep_place_kind { SCEP_PLACE_OPERATION, SCEP_PLACE_CALL } scep_place_kind;

/** In httpd's parent. @return NULL, or CONFIG */
SCEP_MUST const scep_err *scep_places_make(scep_places **out, apr_pool_t *p);

/** Places for a kind, under the present configuration: SCEPConcurrentMax, or what suits httpd's
 *  workers and the machine's cores. */
int scep_places_count(server_rec *s, scep_place_kind kind);

/** Seats there are. */
int scep_seats_count(void);

/** How many places may be taken before their holders need seats. */
int scep_places_unseated(void);

/** A look before work is spent on finding out: scep_place_take() decides. */
bool scep_places_are_full(request_rec *r);

/**
 * One of the places, for the request's whole time.
 * @param mine false: the request had one already. Else it has to be given back
 * @return false: all are taken
 */
bool scep_place_take(bool *mine, request_rec *r, scep_place_kind kind);

/** Give place and seat back; where the request has none nothing happens. */
void scep_place_give(request_rec *r);

/** Wait for a seat, where the request has a place and many are taken: for a second at most, since
 * it is a courtesy to others and one of them may have been stopped. A second of the wall clock, as
 * these mutexes know no other. */
void scep_seat_take(request_rec *r);
/** Nothing happens where the request has none. @return false: so it was */
bool scep_seat_give(request_rec *r);

/** Count a request that was turned away. */
void scep_places_turned_away(request_rec *r);

/** Those that were since httpd was started, by all workers. */
unsigned long scep_places_turned(server_rec *s);

#endif
