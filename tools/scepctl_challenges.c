/* scepctl: challenges that are out, one more, one less. */
#include "scepctl.h"

#include <apr_strings.h>
#include <string.h>

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

int list_challenges(scepctl *c, const words *w)
{
    scep_wire_challenges_of in = { .endpoint = or_empty(w->endpoint),
                                   .user = or_empty(w->user),
                                   .after = "" };
    list l;

    list_begin(&l, c->json);
    do {
        scep_wire_challenge_page page;
        scep_bytes body;
        const scep_err *err = call(c, scep_wire_put_challenges_of(SCEP_VERB_CHALLENGES, &in, c->p),
                                   SCEP_VERB_CHALLENGE_PAGE, &body);

        if (!err)
            err = scep_wire_get_challenge_page(&page, body, c->p);
        if (err)
            return complain(err);
        for (int i = 0; i < page.challenges->nelts; i++)
            list_challenge(&l, &APR_ARRAY_IDX(page.challenges, i, scep_wire_challenge), c->p);
        in.after = page.after;
    } while (*in.after);
    return list_end(&l, "No challenge is out.");
}

/* The challenge alone on standard output, so that a script can take it. */
static int show_minted(const scep_wire_minted *minted, const scepctl *c)
{
    if (minted->outcome == SCEP_MINT_FULL)
        return complain(scep_fail(c->p, REFUSED,
                                  "SCEPPasswordMax unused challenges of the endpoint are out: "
                                  "raise it, or revoke one of them"));
    if (minted->outcome != SCEP_MINT_DONE)
        return complain(scep_fail(c->p, REFUSED, "scep-ca gave no challenge; its log says why"));
    if (!c->json)
        return printf("%s\n", minted->challenge) < 0;
    return print_json(json_pack("{s:s,s:o,s:b}", "challenge", minted->challenge, "expires",
                                time_json(minted->expires, c->p), "single", (int)minted->single));
}

int mint_challenge(scepctl *c, const words *w)
{
    const scep_wire_mint in = { .endpoint = or_empty(w->endpoint),
                                .user = operator_name(),
                                .template_name = or_empty(w->template_name) };
    scep_wire_minted minted;
    const scep_err *err;
    scep_bytes body;

    if (!*in.endpoint)
        return misuse("challenge needs --endpoint NAME: the ServerName of its host, or its "
                      "SCEPEndpoint");
    err = call(c, scep_wire_put_mint(SCEP_VERB_MINT, &in, c->p), SCEP_VERB_MINTED, &body);
    if (!err)
        err = scep_wire_get_minted(&minted, body, c->p);
    return err ? complain(err) : show_minted(&minted, c);
}

int revoke_challenge(scepctl *c, const words *w)
{
    const scep_wire_revoke_challenge in = { .id = or_empty(w->operand),
                                            .endpoint = or_empty(w->endpoint),
                                            .by = operator_name() };

    if (w->single ? *in.id || !*in.endpoint : !*in.id || *in.endpoint)
        return misuse("revoke-challenge needs one ID, or --single with --endpoint NAME");
    return do_call(c, scep_wire_put_revoke_challenge(SCEP_VERB_REVOKE_CHALLENGE, &in, c->p));
}
