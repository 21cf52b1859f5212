#error "a pure library has no outside dependency: <openssl/evp.h> belongs to an edge"
