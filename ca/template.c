/* Which template a request gets. */
#include "template.h"

#include "own.h"

const conf_template *template_pick(const conf_authority *authority, const scep_settings *settings,
                                   uint32_t key_usage)
{
    scep_setting which = SCEP_SET_GeneralPurposeTemplate;

    if (key_usage == KU_DIGITAL_SIGNATURE)
        which = SCEP_SET_SignatureTemplate;
    if (key_usage == KU_KEY_ENCIPHERMENT)
        which = SCEP_SET_EncryptionTemplate;
    return conf_template_find(authority, scep_settings_text(settings, which));
}
