/* A worker's call, from a decoded frame to the answer on its socket. */
#ifndef CA_CALL_H
#define CA_CALL_H

#include "connection.h"

/** Run c->call, and write its answer before its deadline; c->broken: it could not be written. */
void call_run(office *o, connection *c);

#endif
