/*
 * ICertPassage in Samba's AD DC: a test's stand-in for Active Directory Certificate Services, which
 * nobody has on Linux. Connections, fragments, the endpoint mapper, SPNEGO and Kerberos are Samba's
 * own; NDR is its libndr. What the CA says is said by a program: $SCEP_TEST_CA FOLDER reads there
 *
 *   flags authority id attributes request caller
 *
 * and writes there result, disposition, id, chain, cert and message (numbers in decimal, the
 * message in UTF-8); a file that is missing is 0 or empty. Written from [MS-ICPR], without pidl,
 * which Debian does not have. Built by t/lib/SCEPSamba.pm, never installed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <talloc.h>
#include <tevent.h>
#include <core/ntstatus.h>
#include <charset.h>
#include <dcerpc_server.h>
#include <gen_ndr/auth.h>
#include <samba/session.h>

#define BLOBS 3 /* of an answer */
#define BLOB_MOST (1u << 20)

typedef struct call {
    uint32_t flags, id;
    const char *authority;
    DATA_BLOB attributes, request;
    /* the answer */
    uint32_t result, disposition;
    DATA_BLOB out[BLOBS]; /* chain, certificate, message */
} call;

/* ---- NDR ---- */

static enum ndr_err_code pull_blob(struct ndr_pull *ndr, TALLOC_CTX *mem, DATA_BLOB *out)
{
    uint32_t length, pointer, count;

    *out = data_blob_null;
    NDR_CHECK(ndr_pull_uint32(ndr, NDR_SCALARS, &length));
    NDR_CHECK(ndr_pull_generic_ptr(ndr, &pointer));
    if (!pointer)
        return NDR_ERR_SUCCESS;
    NDR_CHECK(ndr_pull_uint3264(ndr, NDR_SCALARS, &count));
    if (count != length || length > BLOB_MOST)
        return ndr_pull_error(ndr, NDR_ERR_ARRAY_SIZE, "%u bytes, count %u", length, count);
    *out = data_blob_talloc(mem, NULL, length);
    return ndr_pull_array_uint8(ndr, NDR_SCALARS, out->data, length);
}

static enum ndr_err_code pull(struct ndr_pull *ndr, TALLOC_CTX *mem, call *c)
{
    uint32_t pointer, size, offset, count;

    NDR_CHECK(ndr_pull_uint32(ndr, NDR_SCALARS, &c->flags));
    NDR_CHECK(ndr_pull_generic_ptr(ndr, &pointer));
    if (pointer) {
        NDR_CHECK(ndr_pull_uint3264(ndr, NDR_SCALARS, &size));
        NDR_CHECK(ndr_pull_uint3264(ndr, NDR_SCALARS, &offset));
        NDR_CHECK(ndr_pull_uint3264(ndr, NDR_SCALARS, &count));
        if (offset || count > size)
            return ndr_pull_error(ndr, NDR_ERR_ARRAY_SIZE, "%u of %u", count, size);
        NDR_CHECK(ndr_check_string_terminator(ndr, count, sizeof(uint16_t)));
        NDR_CHECK(
            ndr_pull_charset(ndr, NDR_SCALARS, &c->authority, count, sizeof(uint16_t), CH_UTF16));
    }
    NDR_CHECK(ndr_pull_uint32(ndr, NDR_SCALARS, &c->id));
    NDR_CHECK(pull_blob(ndr, mem, &c->attributes));
    return pull_blob(ndr, mem, &c->request);
}

static enum ndr_err_code push_blob(struct ndr_push *ndr, DATA_BLOB blob)
{
    NDR_CHECK(ndr_push_uint32(ndr, NDR_SCALARS, (uint32_t)blob.length));
    NDR_CHECK(ndr_push_unique_ptr(ndr, blob.data));
    if (!blob.data)
        return NDR_ERR_SUCCESS;
    NDR_CHECK(ndr_push_uint3264(ndr, NDR_SCALARS, (uint32_t)blob.length));
    return ndr_push_array_uint8(ndr, NDR_SCALARS, blob.data, (uint32_t)blob.length);
}

static enum ndr_err_code push(struct ndr_push *ndr, const call *c)
{
    NDR_CHECK(ndr_push_uint32(ndr, NDR_SCALARS, c->id));
    NDR_CHECK(ndr_push_uint32(ndr, NDR_SCALARS, c->disposition));
    for (int i = 0; i < BLOBS; i++)
        NDR_CHECK(push_blob(ndr, c->out[i]));
    return ndr_push_uint32(ndr, NDR_SCALARS, c->result);
}

/* ---- the program that is the CA ---- */

static bool put_file(const char *folder, const char *name, const void *data, size_t len)
{
    char *path = talloc_asprintf(NULL, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(data, 1, len, file) == len;

    if (file)
        good = fclose(file) == 0 && good;
    talloc_free(path);
    return good;
}

static bool put_number(const char *folder, const char *name, uint32_t number)
{
    char text[16];

    return put_file(folder, name, text, (size_t)snprintf(text, sizeof(text), "%u", number));
}

/* Nothing where there is no such file, or an empty one. */
static DATA_BLOB get_file(TALLOC_CTX *mem, const char *folder, const char *name)
{
    char *path = talloc_asprintf(mem, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    DATA_BLOB out = data_blob_null;

    if (!file)
        return out;
    out = data_blob_talloc(mem, NULL, BLOB_MOST);
    out.length = fread(out.data, 1, BLOB_MOST - 1, file);
    out.data[out.length] = 0;
    fclose(file);
    return out.length ? out : data_blob_null;
}

static uint32_t get_number(TALLOC_CTX *mem, const char *folder, const char *name)
{
    DATA_BLOB text = get_file(mem, folder, name);

    return text.data ? (uint32_t)strtoul((const char *)text.data, NULL, 10) : 0;
}

/* The message as UTF-16LE with its NUL. */
static DATA_BLOB get_message(TALLOC_CTX *mem, const char *folder)
{
    DATA_BLOB text = get_file(mem, folder, "message"), wide = data_blob_null;

    if (text.data && !convert_string_talloc(mem, CH_UTF8, CH_UTF16LE, text.data, text.length + 1,
                                            (void **)&wide.data, &wide.length))
        return data_blob_null;
    return wide;
}

static bool run(const char *folder)
{
    const char *program = getenv("SCEP_TEST_CA");
    int status = 0;
    pid_t pid = program ? fork() : -1;

    if (pid == 0) {
        execl(program, program, folder, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool ask(TALLOC_CTX *mem, call *c, const char *folder, const char *caller)
{
    const char *authority = c->authority ? c->authority : "";

    if (!put_number(folder, "flags", c->flags) || !put_number(folder, "id", c->id) ||
        !put_file(folder, "authority", authority, strlen(authority)) ||
        !put_file(folder, "attributes", c->attributes.data, c->attributes.length) ||
        !put_file(folder, "request", c->request.data, c->request.length) ||
        !put_file(folder, "caller", caller, strlen(caller)) || !run(folder))
        return false;
    c->id = get_number(mem, folder, "id");
    c->result = get_number(mem, folder, "result");
    c->disposition = get_number(mem, folder, "disposition");
    c->out[0] = get_file(mem, folder, "chain");
    c->out[1] = get_file(mem, folder, "cert");
    c->out[2] = get_message(mem, folder);
    return true;
}

/* ---- the interface ---- */

static NTSTATUS op_bind(struct dcesrv_connection_context *context, const struct dcesrv_interface *i)
{
    /* as certification authorities do since Server 2012 */
    return dcesrv_interface_bind_require_privacy(context, i);
}

static NTSTATUS op_pull(struct dcesrv_call_state *state, TALLOC_CTX *mem, struct ndr_pull *ndr,
                        void **out)
{
    call *c = talloc_zero(mem, call);

    if (state->pkt.u.request.opnum != 0) {
        state->fault_code = DCERPC_FAULT_OP_RNG_ERROR;
        return NT_STATUS_NET_WRITE_FAULT;
    }
    if (!NDR_ERR_CODE_IS_SUCCESS(pull(ndr, c, c))) {
        state->fault_code = DCERPC_FAULT_NDR;
        return NT_STATUS_NET_WRITE_FAULT;
    }
    *out = c;
    return NT_STATUS_OK;
}

static NTSTATUS op_dispatch(struct dcesrv_call_state *state, TALLOC_CTX *mem, void *data)
{
    struct auth_session_info *session = dcesrv_call_session_info(state);
    const char *account = session && session->info ? session->info->account_name : "";
    char *folder = talloc_asprintf(mem, "%s/call.XXXXXX", getenv("SCEP_TEST_CA_FOLDER"));
    enum dcerpc_AuthType type;
    enum dcerpc_AuthLevel level;

    dcesrv_call_auth_info(state, &type, &level);
    if (!mkdtemp(folder) ||
        !ask(mem, data, folder, talloc_asprintf(mem, "%s %d %d", account, type, level))) {
        state->fault_code = DCERPC_FAULT_ACCESS_DENIED;
        return NT_STATUS_NET_WRITE_FAULT;
    }
    return NT_STATUS_OK;
}

static NTSTATUS op_reply(struct dcesrv_call_state *state, TALLOC_CTX *mem, void *data)
{
    return NT_STATUS_OK;
}

static NTSTATUS op_push(struct dcesrv_call_state *state, TALLOC_CTX *mem, struct ndr_push *ndr,
                        const void *data)
{
    if (NDR_ERR_CODE_IS_SUCCESS(push(ndr, data)))
        return NT_STATUS_OK;
    state->fault_code = DCERPC_FAULT_NDR;
    return NT_STATUS_NET_WRITE_FAULT;
}

static const struct dcesrv_interface icpr = {
    .name = "icpr",
    .syntax_id = { { 0x91ae6020, 0x9e3c, 0x11cf, { 0x8d, 0x7c }, { 0, 0xaa, 0, 0xc0, 0x91, 0xbe } },
                   0 },
    .bind = op_bind,
    .ndr_pull = op_pull,
    .dispatch = op_dispatch,
    .reply = op_reply,
    .ndr_push = op_push,
    .flags = DCESRV_INTERFACE_FLAGS_HANDLES_NOT_USED,
};

static NTSTATUS init_server(struct dcesrv_context *context, const struct dcesrv_endpoint_server *s)
{
    return dcesrv_interface_register(context, "ncacn_ip_tcp:", NULL, &icpr, NULL);
}

static NTSTATUS shutdown_server(struct dcesrv_context *context,
                                const struct dcesrv_endpoint_server *s)
{
    return NT_STATUS_OK;
}

static bool by_uuid(struct dcesrv_interface *out, const struct GUID *uuid, uint32_t version)
{
    if (version != 0 || !GUID_equal(uuid, &icpr.syntax_id.uuid))
        return false;
    memcpy(out, &icpr, sizeof(*out));
    return true;
}

static bool by_name(struct dcesrv_interface *out, const char *name)
{
    if (strcmp(name, icpr.name) != 0)
        return false;
    memcpy(out, &icpr, sizeof(*out));
    return true;
}

/* Preloaded into samba: its folder of modules is one for the whole machine. */
__attribute__((constructor)) static void load(void)
{
    static const struct dcesrv_endpoint_server server = { .name = "icpr",
                                                          .init_server = init_server,
                                                          .shutdown_server = shutdown_server,
                                                          .interface_by_uuid = by_uuid,
                                                          .interface_by_name = by_name };

    unsetenv("LD_PRELOAD");
    if (!NT_STATUS_IS_OK(dcerpc_register_ep_server(&server)))
        abort();
}
