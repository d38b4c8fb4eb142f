/* Which template a request gets. ndes.md 4: by the key usage it asks for. */
#ifndef CA_TEMPLATE_H
#define CA_TEMPLATE_H

#include "conf.h"
#include "settings.h"

/**
 * digitalSignature alone: SignatureTemplate; keyEncipherment alone: EncryptionTemplate; both, none,
 * or anything else: GeneralPurposeTemplate.
 * @return NULL where the authority has no template of that name (refused at start already)
 */
const conf_template *template_pick(const conf_authority *authority, const scep_settings *settings,
                                   uint32_t key_usage);

#endif
