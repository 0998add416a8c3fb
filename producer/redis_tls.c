/* redis_tls.c: see redis_tls.h. */
#include "producer/redis_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/redis_url.h"

#ifdef HAVE_HIREDIS_SSL
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "producer/resolve.h"

struct redis_tls {
    SSL_CTX *context;
    SSL *ssl; /* of the last connection; kept beyond it, as it knows why that was refused */
};

/* --- files --- */

static bool redis_tls_fail(char *error, size_t error_size, const char *what, const char *file)
{
    unsigned long code =
        ERR_peek_error(); /* the first: the last only says which part of OpenSSL it was */
    const char *why =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
    snprintf(error, error_size, "Redis URL: TLS: %s%s%s: %s", what, *file ? " " : "", file,
             why ? why : "cannot be used");
    ERR_clear_error();
    return false;
}

/* Refuses a key with a passphrase: OpenSSL would ask at the terminal. */
static int no_passphrase(char *text, int size, int writing, void *arg)
{
    (void)text, (void)size, (void)writing, (void)arg;
    return 0;
}

static bool load_authorities(SSL_CTX *context, const char *file, char *error, size_t error_size)
{
    if (*file && SSL_CTX_load_verify_locations(context, file, NULL) != 1) {
        return redis_tls_fail(error, error_size, "cacert", file);
    }
    if (!*file && SSL_CTX_set_default_verify_paths(context) != 1) {
        return redis_tls_fail(error, error_size, "the system's authorities", "");
    }
    return true;
}

static bool load_own(SSL_CTX *context, const struct redis_url *url, char *error, size_t error_size)
{
    if (!*url->cert) {
        return true;
    }
    if (SSL_CTX_use_certificate_chain_file(context, url->cert) != 1) {
        return redis_tls_fail(error, error_size, "cert", url->cert);
    }
    if (SSL_CTX_use_PrivateKey_file(context, url->key, SSL_FILETYPE_PEM) !=
        1) { /* also if it is not the certificate's */
        return redis_tls_fail(error, error_size, "key", url->key);
    }
    return true;
}

static bool redis_tls_prepare(struct redis_tls *tls, const struct redis_url *url, char *error,
                              size_t error_size)
{
    ERR_clear_error();
    tls->context = SSL_CTX_new(TLS_client_method());
    if (tls->context == NULL) {
        return redis_tls_fail(error, error_size, "OpenSSL", "");
    }
    SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_passwd_cb(tls->context, no_passphrase);
    return load_authorities(tls->context, url->cacert, error, error_size) &&
           load_own(tls->context, url, error, error_size);
}

struct redis_tls *redis_tls_create(const struct redis_url *url, char *error, size_t error_size)
{
    struct redis_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        snprintf(error, error_size, "out of memory");
    } else if (!redis_tls_prepare(tls, url, error, error_size)) {
        redis_tls_destroy(tls);
        tls = NULL;
    }
    return tls;
}

void redis_tls_destroy(struct redis_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->context);
    free(tls);
}

/* --- connecting --- */

static bool expect_host(SSL *ssl, const char *host)
{
    if (resolve_is_literal(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* Begins TLS. hiredis takes one reference where it succeeds, and ours stays. */
int redis_tls_start(struct redis_tls *tls, const char *host, struct redisContext *context)
{
    SSL_free(tls->ssl);
    tls->ssl = SSL_new(tls->context);
    if (tls->ssl == NULL || !expect_host(tls->ssl, host)) {
        return -1;
    }
    SSL_up_ref(tls->ssl);
    if (redisInitiateSSL(context, tls->ssl) == REDIS_OK) {
        return 0;
    }
    SSL_free(tls->ssl);
    return -1;
}

/* --- what went wrong --- */

static void explain_refusal(long result, char *text, size_t size)
{
    const char *why = X509_verify_cert_error_string(result), *advice;
    switch (result) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        advice = "the URL's host has to be one that it names";
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        advice = "it has to be renewed";
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        advice = "the clocks differ, or it is for later";
        break;
    default:
        advice = "name its authority's file in the URL, ?cacert=FILE";
    }
    snprintf(text, size, "TLS: the server's certificate is refused: %s; %s", why, advice);
}

/* Explains that the server refuses us, or hangs up: one that wants a certificate does when ours is
 * missing, and its alert is lost if we have written meanwhile. */
static void explain_refused(const char *how, const char *why, char *text, size_t size)
{
    snprintf(text, size,
             "TLS: the server %s: %s; if it asks for a certificate, name ours in the URL, "
             "?cert=FILE&key=FILE",
             how, why);
}

/* Explains an error of OpenSSL's. The server's alerts are its reasons from 1000 on. */
static void explain_error(unsigned long code, const char *why, char *text, size_t size)
{
    const char *said = ERR_reason_error_string(code);
    if (ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET) {
        explain_refused("refuses us", said ? said : "no reason given", text, size);
    } else {
        snprintf(text, size, "TLS: %s; if the port is one without TLS, the URL is redis://",
                 said ? said : why);
    }
}

/* Returns OpenSSL's word for what the other side did by hanging up, or for nothing that it knows.
 */
static bool is_end(unsigned long code)
{
    return code == 0 || ERR_GET_LIB(code) != ERR_LIB_SSL ||
           ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

static void explain_tls(struct redis_tls *tls, bool connected, bool greeted, const char *why,
                        char *text, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    long result = tls->ssl ? SSL_get_verify_result(tls->ssl) : X509_V_OK;
    bool agreed = tls->ssl && SSL_is_init_finished(tls->ssl),
         ended = strstr(why, "timed out") == NULL;
    ERR_clear_error(); /* the queue is the thread's: another connection would take what is left for
                          its own */
    /* A reset may be all that is heard, where the whole handshake went before the event loop
     * looked. */
    connected = connected || (agreed && strstr(why, "reset by peer") != NULL);
    if (result != X509_V_OK) {
        explain_refusal(result, text, size);
    } else if (!is_end(code)) {
        explain_error(code, why, text, size);
    } else if (connected && !agreed) {
        snprintf(
            text, size,
            "TLS: no answer to the handshake; if the port is one without TLS, the URL is redis://");
    } else if (connected && !greeted && ended) {
        explain_refused("refuses us, or went away", "it hung up", text, size);
    } else {
        snprintf(text, size, "%s", greeted && code ? "closed by the server" : why);
    }
}

#else

struct redis_tls *redis_tls_create(const struct redis_url *url, char *error, size_t error_size)
{
    (void)url;
    snprintf(error, error_size,
             "Redis URL: rediss:// needs TLS, which this build has not, as it was made with a "
             "hiredis older than 1.0 (Debian 12's): "
             "build it on Debian 13, or give the redis:// URL of a TLS tunnel");
    return NULL;
}

void redis_tls_destroy(struct redis_tls *tls)
{
    (void)tls;
}

int redis_tls_start(struct redis_tls *tls, const char *host, struct redisContext *context)
{
    (void)tls, (void)host, (void)context;
    return -1;
}

static void explain_tls(struct redis_tls *tls, bool connected, bool greeted, const char *why,
                        char *text, size_t size)
{
    (void)tls, (void)connected, (void)greeted;
    snprintf(text, size, "%s", why);
}

#endif

/* Explains a failure without TLS: a TLS server takes our first command for a broken handshake, and
 * says so in TLS (an alert begins with \x15), or hangs up. */
static void explain_plain(bool greeted, const char *why, char *text, size_t size)
{
    bool alert = strstr(why, "Protocol error") != NULL,
         gone = strstr(why, "closed") || strstr(why, "reset by peer");
    if (!greeted && (alert || gone)) {
        snprintf(text, size,
                 "%s before it answered; if the port is one with TLS, the URL is rediss://", why);
    } else {
        snprintf(text, size, "%s", why);
    }
}

void redis_tls_explain(struct redis_tls *tls, bool connected, bool greeted, const char *why,
                       char *text, size_t size)
{
    if (tls != NULL) {
        explain_tls(tls, connected, greeted, why, text, size);
    } else {
        explain_plain(!connected || greeted, why, text, size);
    }
}
