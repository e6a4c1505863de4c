// A certificate for a test, made when it runs: self-signed, for localhost and 127.0.0.1, so that it
// is its own authority.
#pragma once

#include "tests/unit/unit.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

static inline void identity_make(const char *cert_path, const char *key_path, const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_EXTENSION *names;
	FILE *file;

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
	CHECK(names && X509_add_ext(cert, names, -1) == 1);
	X509_EXTENSION_free(names);
	CHECK(X509_sign(cert, key, EVP_sha256()) > 0);
	file = fopen(cert_path, "w");
	CHECK(file && PEM_write_X509(file, cert) == 1);
	fclose(file);
	file = fopen(key_path, "w");
	CHECK(file && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
	fclose(file);
	X509_free(cert);
	EVP_PKEY_free(key);
}
