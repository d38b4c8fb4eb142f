/* All of libscep. */
#ifndef SCEP_H
#define SCEP_H

#include "bytes.h"
#include "ca_client.h"
#include "caps.h"
#include "cert.h"
#include "certrep.h"
#include "certs.h"
#include "clock.h"
#include "csr.h"
#include "err.h"
#include "key.h"
#include "limit.h"
#include "message.h"
#include "oid.h"
#include "own.h"
#include "proof.h"
#include "query.h"
#include "ra.h"
#include "reference.h"
#include "registry.h"
#include "settings.h"
#include "spki.h"
#include "wire.h"

#endif
