/* questdb_tls.c: see questdb_tls.h. */
#include "drainer/mirror/questdb_tls.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef HAVE_EVENT_OPENSSL

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "drainer/memory.h"

struct questdb_tls {
    SSL_CTX *context;
};

struct questdb_tls *questdb_tls_create(const struct questdb_conf *conf, char *error,
                                       size_t error_size)
{
    struct questdb_tls *tls = memory_or_abort(calloc(1, sizeof *tls));

    tls->context = memory_or_abort(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls->context, conf->unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (conf->tls_roots[0] == '\0') {
        SSL_CTX_set_default_verify_paths(tls->context);
    } else if (SSL_CTX_load_verify_file(tls->context, conf->tls_roots) != 1) {
        snprintf(error, error_size, "tls_roots: cannot read certificates from %s", conf->tls_roots);
        questdb_tls_destroy(tls);
        return NULL;
    }
    return tls;
}

void questdb_tls_destroy(struct questdb_tls *tls)
{
    if (tls != NULL) {
        SSL_CTX_free(tls->context);
        free(tls);
    }
}

struct bufferevent *questdb_tls_stream(struct questdb_tls *tls, struct event_base *base,
                                       const char *host)
{
    SSL *ssl = SSL_new(tls->context);
    unsigned char address[sizeof(struct in6_addr)];
    bool numeric =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;

    if (ssl == NULL) {
        return NULL;
    }
    if (numeric) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    } else {
        SSL_set_tlsext_host_name(ssl, host);
        SSL_set1_host(ssl, host);
    }
    return bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_CONNECTING,
                                          BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
}

void questdb_tls_explain(struct bufferevent *stream, char *why, size_t size)
{
    SSL *ssl = stream == NULL ? NULL : bufferevent_openssl_get_ssl(stream);
    long verified = ssl == NULL ? X509_V_OK : SSL_get_verify_result(ssl);

    if (verified != X509_V_OK) {
        snprintf(why, size, "the server's certificate is refused: %s",
                 X509_verify_cert_error_string(verified));
    }
}

#else

struct questdb_tls *questdb_tls_create(const struct questdb_conf *conf, char *error,
                                       size_t error_size)
{
    (void)conf;
    snprintf(
        error, error_size,
        "this program was built without TLS for it (libevent's, with OpenSSL); use http:: to a "
        "proxy with TLS on this host");
    return NULL;
}

void questdb_tls_destroy(struct questdb_tls *tls)
{
    free(tls);
}

struct bufferevent *questdb_tls_stream(struct questdb_tls *tls, struct event_base *base,
                                       const char *host)
{
    (void)tls, (void)base, (void)host;
    return NULL;
}

void questdb_tls_explain(struct bufferevent *stream, char *why, size_t size)
{
    (void)stream, (void)why, (void)size;
}

#endif
